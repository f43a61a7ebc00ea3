"""Tags of Dagster runs that this project reads.

Dagster's own constants are private; the texts are documented and stored.
"""

PARTITION_TAG = "dagster/partition"
"""A run's partition key: the intent's id."""

PERSON_TAG = "sisu/person"
"""The authenticated person who launched the run. Only the run storage of the web server's process sets it."""
