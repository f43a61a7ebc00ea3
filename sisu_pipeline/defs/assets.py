"""Lineage: compiled_intent → patched_plan → plan_approval → decision → execution, one partition per intent."""

import dagster as dg

from sisu_pipeline.defs.asset_keys import COMPILED_INTENT, DECISION, EXECUTION, PATCHED_PLAN, PLAN_APPROVAL
from sisu_pipeline.defs.intent_partitions import INTENTS
from sisu_pipeline.defs.step_ops import apply_patch_st, compile_st, decide_st, execute_st

_GROUP = "intents"

compiled_intent = dg.AssetsDefinition.from_op(
    compile_st,
    keys_by_output_name={"result": COMPILED_INTENT},
    partitions_def=INTENTS,
    group_name=_GROUP,
)

patched_plan = dg.AssetsDefinition.from_op(
    apply_patch_st,
    keys_by_input_name={"compiled_intent": COMPILED_INTENT},
    keys_by_output_name={"result": PATCHED_PLAN},
    partitions_def=INTENTS,
    group_name=_GROUP,
)

plan_approval = dg.AssetSpec(
    PLAN_APPROVAL,
    deps=[PATCHED_PLAN],
    partitions_def=INTENTS,
    group_name=_GROUP,
    description="A person's decision on the plan, reported by approval_sensor.",
)

decision = dg.AssetsDefinition.from_op(
    decide_st,
    keys_by_input_name={"patched_plan": PATCHED_PLAN, "plan_approval": PLAN_APPROVAL},
    keys_by_output_name={"result": DECISION},
    partitions_def=INTENTS,
    group_name=_GROUP,
)

execution = dg.AssetsDefinition.from_graph(
    execute_st,
    keys_by_input_name={"decision": DECISION},
    keys_by_output_name={"result": EXECUTION},
    partitions_def=INTENTS,
    group_name=_GROUP,
)

MATERIALIZED = (compiled_intent, patched_plan, decision, execution)
EVERY_ASSET = (*MATERIALIZED, plan_approval)
