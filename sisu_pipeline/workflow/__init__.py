"""What happens to an intent: commands, step execution, ownership of runs, workspace patches."""
