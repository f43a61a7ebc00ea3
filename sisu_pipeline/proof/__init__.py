"""Labs and benchmarks; they need a source checkout. Only the CLI imports this package."""
