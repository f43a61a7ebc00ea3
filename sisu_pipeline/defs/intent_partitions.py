"""The partitions of the lineage: one per intent, named by the intent's id."""

from collections.abc import Sequence

import dagster as dg


class IntentPartitions(dg.DynamicPartitionsDefinition):
    """Dynamic partitions whose runs end normally after an operator has deleted their partition."""

    def get_partition_keys_in_range(self, partition_key_range: dg.PartitionKeyRange) -> Sequence[str]:
        """The keys of a range. Dagster's own method, which each output calls, fails for a deleted partition."""
        if partition_key_range.start == partition_key_range.end:
            return [partition_key_range.start]
        return super().get_partition_keys_in_range(partition_key_range)


INTENTS = IntentPartitions(name="intents")
