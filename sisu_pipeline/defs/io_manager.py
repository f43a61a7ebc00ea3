"""IO managers: step outputs are rows, inserted once and then compared; shards are only names."""

from typing import Any

import dagster as dg

from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.defs import asset_metadata
from sisu_pipeline.steps.step_result import StepResult
from sisu_pipeline.workflow import step_execution
from sisu_pipeline.workflow.dependencies import dependencies

STEP_OF_ASSET = {
    dg.AssetKey("compiled_intent"): StepId.COMPILE,
    dg.AssetKey("patched_plan"): StepId.APPLY_PATCH,
    dg.AssetKey("decision"): StepId.DECIDE,
    dg.AssetKey("execution"): StepId.EXECUTE,
}


class RowIOManager(dg.IOManager):
    """Keeps a StepResult under its partition's run: the row, its artifacts and its gate, in one transaction."""

    def handle_output(self, context: dg.OutputContext, obj: StepResult) -> None:
        """Insert, then compare. Raises DeterminismBreach when the row is there with other content."""
        step_execution.commit(dependencies(), context.partition_key, obj)
        context.add_output_metadata(asset_metadata.of_step(dependencies(), context.partition_key, obj))

    def load_input(self, context: dg.InputContext) -> Any:
        """The stored output of the upstream step of this partition."""
        return step_execution.stored_output(dependencies(), context.partition_key, STEP_OF_ASSET[context.asset_key])


class ShardIOManager(dg.IOManager):
    """A shard's name is its mapping key, so there is nothing to store and nothing to lose."""

    def handle_output(self, context: dg.OutputContext, obj: str) -> None:
        """Nothing: the name is in the event log already."""

    def load_input(self, context: dg.InputContext) -> str:
        """The shard the mapping key names."""
        upstream = context.upstream_output
        assert upstream is not None
        if upstream.mapping_key is not None:
            return upstream.mapping_key
        # The output of `sandbox_task[shard]`: its own step key carries the name.
        return upstream.step_key.rpartition("[")[2].removesuffix("]")


row_io_manager = RowIOManager()
shard_io_manager = ShardIOManager()
