"""Worker processes: the intent worker group and the sandbox worker."""
