"""Detection of dead workers and lost work, and cleanup after a cancellation."""
