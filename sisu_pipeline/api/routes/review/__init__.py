"""Routes to find open gates, decide about many of them, assign them, and read the history of all runs."""
