"""Shared by labs and benchmarks: stacks, processes, load, progress and reports."""
