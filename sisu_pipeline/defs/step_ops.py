"""The four steps as Dagster ops, each one call of `step_execution` or `fan_out`. Op names are the step names.

The partition key of a Dagster run is its intent's id.
"""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg

from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.defs import asset_metadata
from sisu_pipeline.queueing import fan_out
from sisu_pipeline.settings import settings
from sisu_pipeline.steps.step_result import StepResult
from sisu_pipeline.workflow import ownership, step_execution
from sisu_pipeline.workflow.dependencies import Dependencies, dependencies

GATE_TAG = "sisu/gate"
ROWS = "rows"
SHARDS = "shards"

_ROW = dg.Out(io_manager_key=ROWS)
_GATED_ROW = dg.Out(io_manager_key=ROWS, is_required=False)

_GatedStep = Callable[[Dependencies, str, str], StepResult | None]


# A coding agent's answer is waited for like a decision; without an agent, the step has nothing to wait for.
_COMPILE_TAGS = {GATE_TAG: "plan"} if settings().asks_agent else {}


@dg.op(name=StepId.COMPILE.value, out=_ROW, tags=_COMPILE_TAGS, description="Plan the intent.")
def compile_st(context: dg.OpExecutionContext) -> StepResult:
    return step_execution.compile_intent(dependencies(), context.partition_key, context.run_id)


@dg.op(
    name=StepId.APPLY_PATCH.value,
    ins={"compiled_intent": dg.In(dg.Nothing)},
    out=_GATED_ROW,
    tags={GATE_TAG: "ask-user"},
    description="Apply the plan's patches reversibly and open the plan gate. Waits when the plan asks something.",
)
def apply_patch_st(context: dg.OpExecutionContext) -> Iterator[dg.Output[StepResult]]:
    yield from _behind_a_gate(context, step_execution.apply_patches)


@dg.op(
    name=StepId.DECIDE.value,
    ins={"patched_plan": dg.In(dg.Nothing), "plan_approval": dg.In(dg.Nothing)},
    out=_GATED_ROW,
    tags={GATE_TAG: "approve-plan"},
    description="Turn the approved plan into tasks. Waits at the gate without holding a process.",
)
def decide_st(context: dg.OpExecutionContext) -> Iterator[dg.Output[StepResult]]:
    yield from _behind_a_gate(context, step_execution.decide_plan)


def _behind_a_gate(context: dg.OpExecutionContext, step: _GatedStep) -> Iterator[dg.Output[StepResult]]:
    intent_id = context.partition_key
    result = step(dependencies(), intent_id, context.run_id)
    # The segment executor starts this step only behind its gate. In the portable profile the gate may be closed.
    while result is None and not ownership.suspend(dependencies().database, intent_id):
        result = step(dependencies(), intent_id, context.run_id)
    if result is None:
        context.log.info("The gate is closed: this run skips the step, and the run after the decision executes it.")
        return
    yield dg.Output(result)


@dg.op(
    ins={"decision": dg.In(dg.Nothing)},
    out=dg.DynamicOut(io_manager_key=SHARDS),
    description="One dynamic output per task; with more than 128 tasks, per shard of tasks.",
)
def fan_out_tasks(context: dg.OpExecutionContext) -> Iterator[dg.DynamicOutput[str]]:
    for shard in fan_out.start(dependencies(), context.partition_key, context.run_id):
        yield dg.DynamicOutput(shard, mapping_key=shard)


@dg.op(out=dg.Out(io_manager_key=SHARDS), description="The tasks of one shard, in sandboxes.")
def sandbox_task(context: dg.OpExecutionContext, shard: str) -> str:
    fan_out.run_shard(dependencies(), context.partition_key, shard)
    return shard


@dg.op(out=_ROW, description="Merge the results of every task.")
def collect(context: dg.OpExecutionContext, shards: list[str]) -> Iterator[dg.Output[StepResult]]:
    intent_id = context.partition_key
    result = step_execution.collect(dependencies(), intent_id, context.run_id)
    yield dg.Output(result, metadata=asset_metadata.of_tasks(dependencies(), intent_id))
    # The output is stored by now: a failed task fails the run, and every result remains readable.
    step_execution.finish(dependencies(), intent_id, result)


@dg.graph(
    name=StepId.EXECUTE.value, ins={"decision": dg.GraphIn()}, description="Run the tasks, keep every result once."
)
def execute_st(decision: Any) -> Any:
    return collect(fan_out_tasks(decision).map(sandbox_task).collect())
