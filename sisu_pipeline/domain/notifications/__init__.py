"""What people are notified of, and the messages about it."""
