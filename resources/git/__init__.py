"""Git repositories as data: fetched, read and written without running any program that a repository names."""
