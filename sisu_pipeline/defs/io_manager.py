"""IO managers: step outputs are rows, inserted once and compared with every repetition; shards are only names."""

from typing import Any

import dagster as dg

from sisu_pipeline.defs import asset_metadata
from sisu_pipeline.defs.asset_keys import STEP_OF_ASSET
from sisu_pipeline.steps.step_result import StepResult
from sisu_pipeline.workflow import step_execution
from sisu_pipeline.workflow.dependencies import dependencies


class RowIOManager(dg.IOManager):
    """Stores a StepResult as a row of its partition's run, with its artifacts and gate, in one transaction."""

    def handle_output(self, context: dg.OutputContext, obj: StepResult) -> None:
        """Insert the output. Raises DeterminismBreach when the step is stored with another output."""
        step_execution.commit(dependencies(), context.partition_key, obj)
        context.add_output_metadata(asset_metadata.of_step(dependencies(), context.partition_key, obj))

    def load_input(self, context: dg.InputContext) -> Any:
        """The stored output of the upstream step in this partition."""
        return step_execution.stored_output(dependencies(), context.partition_key, STEP_OF_ASSET[context.asset_key])


class ShardIOManager(dg.IOManager):
    """Stores nothing: the name of a shard is the mapping key of its step."""

    def handle_output(self, context: dg.OutputContext, obj: str) -> None:
        """Do nothing; the name is in the event log."""

    def load_input(self, context: dg.InputContext) -> str:
        """The name of the shard."""
        upstream = context.upstream_output
        assert upstream is not None
        if upstream.mapping_key is not None:
            return upstream.mapping_key
        # The output of `sandbox_task[shard]`: its own step key carries the name.
        return upstream.step_key.rpartition("[")[2].removesuffix("]")


row_io_manager = RowIOManager()
shard_io_manager = ShardIOManager()
