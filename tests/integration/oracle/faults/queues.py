"""How the laws about what the queues hold are broken, and what only looks so."""

from tests.integration.oracle.faults.change import ADD_RECEIPT, ZEROS, fault, legal
from tests.integration.oracle.faults.runs import note

_ADD_WORKFLOW = (
    "INSERT INTO dbos.workflow_status (workflow_uuid, status, name, queue_name, queue_partition_key, "
    "application_version, priority, created_at, updated_at) VALUES ({0}, 'any', {1}, 'team-a', 'v1', 1, 0, 0)"
)
_ADOPT = (
    "INSERT INTO app.version_adoptions (old_version, new_version, adopted_by, channel, reason) "
    "VALUES ({0}, 'po', 'cli', '')"
)
_WORKFLOW = "UPDATE dbos.workflow_status SET {0} WHERE workflow_uuid = "
_A_CHILD = "(SELECT min(task_key) FROM app.sbx_runs WHERE run_id = %(succeeded)s)"
_LAST_SEGMENT = "%(succeeded_intent)s || '/2'"


def _dagster_run(run: str, status: str) -> tuple[str, ...]:
    """A statement that makes a run's Dagster run, with this status."""
    return (
        "INSERT INTO dagster.runs (run_id, status) "
        f"SELECT dagster_run_id, '{status}' FROM app.runs WHERE id = %({run})s",
    )


QUEUES = (
    fault(
        "800_segments_are_on_intentq",
        "another partition than the run's",
        _WORKFLOW.format("queue_partition_key = 'elsewhere'") + "%(succeeded_intent)s",
    ),
    fault(
        "800_segments_are_on_intentq",
        "another queue",
        _WORKFLOW.format("queue_name = 'controlQ'") + "%(succeeded_intent)s",
    ),
    fault(
        "800_segments_are_on_intentq",
        "work for an unknown intent",
        _ADD_WORKFLOW.format(f"'ih_' || {ZEROS}, 'ENQUEUED'", "'intentQ'"),
    ),
    fault(
        "810_tasks_are_on_sbxq",
        "another partition than the run's",
        _WORKFLOW.format("queue_partition_key = 'elsewhere'") + _A_CHILD,
    ),
    fault(
        "810_tasks_are_on_sbxq",
        "another queue",
        _WORKFLOW.format("queue_name = 'controlQ'") + _A_CHILD,
    ),
    fault(
        "820_no_segment_runs_ahead",
        "a segment the run has not counted",
        _ADD_WORKFLOW.format("%(succeeded_intent)s || '/9', 'SUCCESS'", "'intentQ'"),
    ),
    fault(
        "830_one_segment_at_a_time",
        "the first segment never let go",
        _WORKFLOW.format("status = 'PENDING'") + "%(decided_intent)s",
    ),
    fault(
        "840_engine_agrees_about_success",
        "the last segment failed",
        _WORKFLOW.format("status = 'ERROR'") + _LAST_SEGMENT,
    ),
    *(
        fault(
            "845_unfinished_intents_have_an_open_dagster_run",
            f"the Dagster run of a waiting intent ended as {status}",
            *_dagster_run("waiting", status),
        )
        for status in ("FAILURE", "CANCELED")
    ),
    fault(
        "850_ended_runs_leave_no_work",
        "a task of a finished run executes",
        _WORKFLOW.format("status = 'PENDING'") + _A_CHILD,
        "UPDATE app.runs SET updated_at = now() - interval '1 minute' WHERE id = %(succeeded)s",
    ),
    fault(
        "850_ended_runs_leave_no_work",
        "a segment of a canceled run is queued",
        _WORKFLOW.format("status = 'ENQUEUED'") + "%(canceled_intent)s",
        "UPDATE app.runs SET updated_at = now() - interval '1 minute' WHERE id = %(canceled)s",
    ),
    fault(
        "860_work_carries_its_runs_version",
        "a segment of another version",
        _WORKFLOW.format("application_version = 'v0'") + "%(succeeded_intent)s",
    ),
    fault(
        "860_work_carries_its_runs_version",
        "a segment of a version whose successor the run's is",
        _WORKFLOW.format("application_version = 'v0'") + "%(succeeded_intent)s",
        _ADOPT.format("'v0', 'v1'"),
    ),
    fault(
        "860_work_carries_its_runs_version",
        "a task of no version",
        _WORKFLOW.format("application_version = NULL") + _A_CHILD,
    ),
    fault(
        "870_finished_tasks_have_their_result",
        "a finished task without a result",
        ADD_RECEIPT.format("decided"),
        _ADD_WORKFLOW.format(f"{ZEROS}, 'SUCCESS'", "'sbxQ'"),
    ),
)

# What looks like a fault and is none: a moment between two commits, or history.
LEGAL = (
    legal("a waiting intent's Dagster run is suspended", *_dagster_run("waiting", "SUSPENDED")),
    legal("a portable intent's first Dagster run ended at the gate", *_dagster_run("waiting", "SUCCESS")),
    legal("a finished intent's Dagster run has failed", *_dagster_run("succeeded", "FAILURE")),
    legal(
        "the next segment waits for the one before it to let go",
        _WORKFLOW.format("status = 'PENDING', started_at_epoch_ms = extract(epoch FROM now()) * 1000")
        + "%(decided_intent)s || '/2'",
        _WORKFLOW.format("status = 'PENDING'") + "%(decided_intent)s",
    ),
    legal(
        "a succeeded run whose last segment is just about to end",
        _WORKFLOW.format("status = 'PENDING'") + _LAST_SEGMENT,
        "UPDATE app.runs SET updated_at = now() WHERE id = %(succeeded)s",
    ),
    legal(
        "a segment and a task that workers of a successor's successor executed",
        _WORKFLOW.format("application_version = 'v3'") + _LAST_SEGMENT,
        _WORKFLOW.format("application_version = 'v2'") + _A_CHILD,
        _ADOPT.format("'v1', 'v2'"),
        _ADOPT.format("'v2', 'v3'"),
    ),
    legal(
        "a canceled workflow is off its queue",
        _WORKFLOW.format("status = 'CANCELLED', queue_name = NULL") + "%(canceled_intent)s",
    ),
    legal(
        "history of an intent that a reset has removed",
        _ADD_WORKFLOW.format(f"'ih_' || {ZEROS}, 'SUCCESS'", "'intentQ'"),
    ),
    legal(
        "a task executes and has no result yet",
        ADD_RECEIPT.format("decided"),
        _ADD_WORKFLOW.format(f"{ZEROS}, 'PENDING'", "'sbxQ'"),
    ),
    legal(
        "an approval of another plan that let nothing run",
        f"UPDATE app.plan_approvals SET plan_sha256 = {ZEROS} WHERE run_id = %(rejected)s",
        "UPDATE app.plan_approvals made SET record = app.approval_record(made) WHERE run_id = %(rejected)s",
    ),
    legal(
        "a decided run whose next segment has not begun",
        "INSERT INTO app.plan_approvals (run_id, decision, decided_by, plan_sha256, approvers) "
        "SELECT run_id, 'approved', 'ann', plan_sha256, '{ann}' FROM app.human_gates WHERE run_id = %(waiting)s",
        "INSERT INTO app.human_interactions (run_id, gate_key, dedupe_key, kind, actor, payload, payload_hash) "
        "SELECT run_id, gate_key, 'k', 'approve', 'ann', '{}', plan_sha256 FROM app.human_gates "
        "WHERE run_id = %(waiting)s",
        "SELECT app.record_votes(made) FROM app.plan_approvals made WHERE run_id = %(waiting)s",
    ),
    legal(
        "a rollback that failed and says so",
        "UPDATE app.patch_history SET rolled_back_at = NULL WHERE run_id = %(rejected)s",
        "UPDATE app.runs SET error = 'APPLY_PATCH_ROLLBACK_FAILED:POSTIMAGE_MISMATCH:app.py;source=no' "
        "WHERE id = %(rejected)s",
    ),
    legal(
        "a retried run that no worker has claimed",
        "UPDATE app.runs SET status = 'repairing', retry_count = 1, error = NULL, next_action = NULL, "
        "dagster_run_id = NULL, segment = segment + 1 WHERE id = %(broken)s",
        note("broken", "repairing"),
    ),
)
