"""What labs and benchmarks share: a stack of their own, fault injection, progress, verdicts."""
