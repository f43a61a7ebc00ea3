"""Dagster definitions: assets, ops, jobs, asset checks, the IO manager."""
