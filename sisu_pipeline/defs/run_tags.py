"""Tags of Dagster runs that carry a meaning for this project."""

PERSON_TAG = "sisu/person"
"""The authenticated person who launched the run. Only the run storage of the web server's process sets it."""
