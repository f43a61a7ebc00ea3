"""Commands that run, inspect and operate a stack."""
