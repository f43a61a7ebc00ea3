"""Who may do what at both ports: one rule per operation of the API, per Dagster job and per GraphQL mutation.

Whatever has no rule is refused: a route without one cannot be defined, a mutation without one is not executed.
"""

from collections.abc import Mapping
from enum import StrEnum

from sisu_pipeline.contracts.access import Role


class Audience(StrEnum):
    """Those who need no particular role."""

    ANYONE = "anyone"
    """No token or session is required."""
    SIGNED_IN = "signed in"
    """Every caller with a known token or session, whatever its roles."""
    NOBODY = "nobody"
    """Refused to every caller."""


Rule = Audience | Role

API_RULES: Mapping[str, Rule] = {
    "approve_plan": Role.APPROVER,
    "reject_plan": Role.APPROVER,
    "request_changes": Role.APPROVER,
    "answer_gate": Role.APPROVER,
    "decide_many": Role.APPROVER,
    "assign_run": Role.APPROVER,
    "record_delegation": Role.APPROVER,
    "submit_intent": Role.SUBMITTER,
    "start_run": Role.SUBMITTER,
    "cancel": Role.OPERATOR,
    "retry": Role.OPERATOR,
    "apply_policy": Role.OPERATOR,
    "apply_recipe": Role.OPERATOR,
    "adopt_version": Role.OPERATOR,
    "show_intent_schema": Audience.SIGNED_IN,
    "list_open_gates": Audience.SIGNED_IN,
    "list_history": Audience.SIGNED_IN,
    "export_history": Audience.SIGNED_IN,
    "list_delegations": Audience.SIGNED_IN,
    "show_inbox": Audience.SIGNED_IN,
    "watch_inbox": Audience.SIGNED_IN,
    "list_gates": Audience.SIGNED_IN,
    "show_gate": Audience.SIGNED_IN,
    "show_plan": Audience.SIGNED_IN,
    "list_interactions": Audience.SIGNED_IN,
    "show_history": Audience.SIGNED_IN,
    "list_runs": Audience.SIGNED_IN,
    "show_run": Audience.SIGNED_IN,
    "watch_run": Audience.SIGNED_IN,
    "watch_output": Audience.SIGNED_IN,
    "watch_several": Audience.SIGNED_IN,
    "show_artifact": Audience.SIGNED_IN,
    "list_tasks": Audience.SIGNED_IN,
    "show_logs": Audience.SIGNED_IN,
    "show_patch": Audience.SIGNED_IN,
    "show_files": Audience.SIGNED_IN,
    "show_bundle": Audience.SIGNED_IN,
    "queue_depth": Audience.SIGNED_IN,
    "list_versions": Audience.SIGNED_IN,
    "show_session": Audience.SIGNED_IN,
    "list_policies": Audience.SIGNED_IN,
    "show_policy": Audience.SIGNED_IN,
    "list_recipes": Audience.SIGNED_IN,
    "show_recipe": Audience.SIGNED_IN,
    # Sign-in and sign-out, the health checks, and the files of the inbox, which say nothing about any run.
    "show_sign_in": Audience.ANYONE,
    "begin_sign_in": Audience.ANYONE,
    "finish_sign_in": Audience.ANYONE,
    "open_session": Audience.ANYONE,
    "close_session": Audience.ANYONE,
    "healthz": Audience.ANYONE,
    "readyz": Audience.ANYONE,
    "show_page": Audience.ANYONE,
    "show_asset": Audience.ANYONE,
}
"""By operation id, which is the name of the route's handler."""

JOB_RULES: Mapping[str, Role] = {
    "submit_intent": Role.SUBMITTER,
    "approve_plan": Role.APPROVER,
    "reject_plan": Role.APPROVER,
    "request_changes": Role.APPROVER,
    "answer_gate": Role.APPROVER,
    "intent_workflow": Role.OPERATOR,
}
"""By the name of the Dagster job that is launched. Every other job needs OTHER_JOBS."""

OTHER_JOBS = Role.OPERATOR

LAUNCHES = frozenset({"launchRun", "launchPipelineExecution", "launchMultipleRuns"})
"""The mutations that launch jobs: they need the role of each job that they name."""

MUTATION_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("logTelemetry", "setNuxSeen"), Audience.SIGNED_IN),
    **dict.fromkeys(
        (
            *("launchPipelineReexecution", "launchRunReexecution"),
            *("terminatePipelineExecution", "terminateRun", "terminateRuns", "deletePipelineRun", "deleteRun"),
            *("launchPartitionBackfill", "resumePartitionBackfill", "reexecutePartitionBackfill"),
            *("cancelPartitionBackfill", "addDynamicPartition", "deleteDynamicPartitions"),
            *("startSensor", "stopSensor", "resetSensor", "setSensorCursor", "sensorDryRun"),
            *("startSchedule", "stopRunningSchedule", "resetSchedule", "scheduleDryRun"),
            *("setAutoMaterializePaused", "setConcurrencyLimit", "deleteConcurrencyLimit"),
            *("freeConcurrencySlots", "freeConcurrencySlotsForRun"),
            "wipeAssets",
            *("reloadRepositoryLocation", "reloadWorkspace", "shutdownRepositoryLocation"),
            *("setAppManagedComponent", "deleteAppManagedComponent", "refreshComponentState"),
        ),
        Role.OPERATOR,
    ),
    # Only the pipeline reports events of the lineage.
    **dict.fromkeys(("reportRunlessAssetEvents", "reportAssetCheckEvaluations"), Audience.NOBODY),
}
"""By the name of the mutation of Dagster's GraphQL schema, without LAUNCHES."""
