"""Labs and benchmarks: evidence that the system keeps its promises. Only the CLI imports this package."""
