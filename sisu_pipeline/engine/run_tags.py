"""Tags that Dagster sets on a run. Its own constants are private; the texts are documented and stored."""

PARTITION_TAG = "dagster/partition"
"""A run's partition key: the intent's id."""
