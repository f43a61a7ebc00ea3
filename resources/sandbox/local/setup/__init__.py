"""Setups of the local provider: the command that prepares what tasks need, and the cache of its results."""
