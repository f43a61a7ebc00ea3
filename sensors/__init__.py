"""The sensors: what turns rows into Dagster runs and segments."""
