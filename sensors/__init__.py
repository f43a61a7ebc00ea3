"""Sensors: they turn rows into Dagster runs and segments."""
