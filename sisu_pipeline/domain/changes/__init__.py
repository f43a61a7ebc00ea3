"""Changes of files: those of a plan, and those between two sets of files."""
