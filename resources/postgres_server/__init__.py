"""What the embedded Postgres needs of the operating system: its lock file, and mounts of its own."""
