"""The names of the jobs and of the assets in its lineage, and the step that produces each asset."""

import dagster as dg

from sisu_pipeline.contracts.step_outputs import StepId

INTENT_JOB = "intent_workflow"
DECISION_JOBS = frozenset({"approve_plan", "reject_plan", "request_changes", "answer_gate"})
"""The jobs that record what a person decided at a gate."""

COMPILED_INTENT = dg.AssetKey("compiled_intent")
PATCHED_PLAN = dg.AssetKey("patched_plan")
PLAN_APPROVAL = dg.AssetKey("plan_approval")
DECISION = dg.AssetKey("decision")
EXECUTION = dg.AssetKey("execution")

STEP_OF_ASSET = {
    COMPILED_INTENT: StepId.COMPILE,
    PATCHED_PLAN: StepId.APPLY_PATCH,
    DECISION: StepId.DECIDE,
    EXECUTION: StepId.EXECUTE,
}
