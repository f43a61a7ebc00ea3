"""What people need to find and share their work: open gates that match, assignments and delegations."""
