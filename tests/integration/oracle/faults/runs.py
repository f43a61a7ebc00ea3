"""How the laws about runs, their steps, gates and patches are broken."""

from sisu_pipeline.domain.canonical import sha256_hex
from tests.integration.oracle.faults.change import ZEROS, fault

IDENTITY = (
    fault(
        "010_one_run_per_intent",
        "a run of another intent's workflow",
        "ALTER TABLE app.runs DROP CONSTRAINT runs_check",
        "UPDATE app.runs SET intent_id = %(waiting_intent)s WHERE id = %(queued)s",
    ),
    fault(
        "020_run_id_is_derived",
        "a made-up run id",
        "UPDATE app.runs SET id = 'run_' || repeat('0', 32) WHERE id = %(queued)s",
    ),
    fault(
        "030_run_is_pinned_to_its_recipe",
        "the recipe changed beneath the run",
        f"UPDATE app.runs SET recipe_hash = {ZEROS} WHERE id = %(waiting)s",
    ),
    fault(
        "040_one_dagster_run_owns_an_intent",
        "a waiting run without an owner",
        "UPDATE app.runs SET dagster_run_id = NULL WHERE id = %(waiting)s",
    ),
    fault(
        "040_one_dagster_run_owns_an_intent",
        "one Dagster run owns two intents",
        "UPDATE app.runs SET dagster_run_id = (SELECT dagster_run_id FROM app.runs WHERE id = %(decided)s) "
        "WHERE id = %(waiting)s",
    ),
)

STEPS = (
    fault(
        "100_steps_run_in_order",
        "ApplyPatchST without CompileST",
        "DELETE FROM app.run_steps WHERE run_id = %(waiting)s AND step_id = 'CompileST'",
        "DELETE FROM app.artifacts WHERE run_id = %(waiting)s AND step_id = 'CompileST'",
    ),
    fault(
        "110_steps_are_committed_once",
        "CompileST committed twice",
        "INSERT INTO app.run_steps (run_id, step_id, attempt, phase, output, started_at, finished_at) "
        "SELECT run_id, step_id, 2, phase, output, finished_at, finished_at FROM app.run_steps "
        "WHERE run_id = %(waiting)s AND step_id = 'CompileST'",
    ),
    fault(
        "110_steps_are_committed_once",
        "ExecuteST committed twice without a retry",
        "INSERT INTO app.run_steps (run_id, step_id, attempt, phase, output, started_at, finished_at) "
        "SELECT run_id, step_id, 4, phase, output, finished_at, finished_at FROM app.run_steps "
        "WHERE run_id = %(flaky)s AND step_id = 'ExecuteST'",
        "UPDATE app.run_steps SET attempt = 2 WHERE run_id = %(flaky)s AND attempt = 3",
        "UPDATE app.run_steps SET attempt = 3 WHERE run_id = %(flaky)s AND attempt = 4",
    ),
    fault(
        "110_steps_are_committed_once",
        "a step in another step's phase",
        "UPDATE app.run_steps SET phase = 'execution' WHERE run_id = %(waiting)s AND step_id = 'CompileST'",
    ),
    fault(
        "120_step_times_follow_step_order",
        "ApplyPatchST started before CompileST was committed",
        "UPDATE app.run_steps SET started_at = started_at - interval '1 hour' "
        "WHERE run_id = %(waiting)s AND step_id = 'ApplyPatchST'",
    ),
    fault(
        "130_last_step_is_the_last_row",
        "last_step lags behind",
        "UPDATE app.runs SET last_step = 'CompileST' WHERE id = %(waiting)s",
    ),
    fault(
        "140_steps_leave_their_artifacts",
        "the sentinel is missing",
        "DELETE FROM app.artifacts WHERE run_id = %(waiting)s AND kind = 'none'",
    ),
    fault(
        "140_steps_leave_their_artifacts",
        "an artifact of a step that was not committed",
        "INSERT INTO app.artifacts (run_id, step_id, idx, kind, uri, inline, sha256) "
        "SELECT run_id, 'DecideST', idx, kind, replace(uri, 'ApplyPatchST', 'DecideST'), inline, sha256 "
        "FROM app.artifacts WHERE run_id = %(waiting)s AND kind = 'none'",
    ),
)

_NOTE = (
    "INSERT INTO app.run_changes (run_id, from_status, to_status, person, reason, channel) "
    "SELECT {id}, to_status, '{status}', 'sisu:engine', NULL, 'engine' FROM app.run_changes "
    "WHERE run_id = {id} ORDER BY number DESC LIMIT 1"
)


def note(name: str, status: str) -> str:
    """Record that a run has this status, as a change of the status does while triggers are on."""
    return _NOTE.format(id=f"%({name})s", status=status)


RUNS = (
    fault(
        "600_succeeded_runs_are_complete",
        "an error left over",
        "UPDATE app.runs SET error = 'left over' WHERE id = %(succeeded)s",
    ),
    fault(
        "600_succeeded_runs_are_complete",
        "succeeded at the gate",
        "UPDATE app.runs SET status = 'succeeded', next_action = NULL WHERE id = %(waiting)s",
        note("waiting", "succeeded"),
    ),
    fault(
        "600_succeeded_runs_are_complete",
        "succeeded with a failed task",
        "UPDATE app.patch_history SET rolled_back_at = NULL WHERE run_id = %(broken)s",
        "UPDATE app.runs SET status = 'succeeded', next_action = NULL, error = NULL WHERE id = %(broken)s",
        note("broken", "succeeded"),
    ),
    fault(
        "610_ended_runs_say_why",
        "no reason",
        "UPDATE app.runs SET error = '' WHERE id = %(broken)s",
    ),
    fault(
        "610_ended_runs_say_why",
        "a canceled run to repair",
        "UPDATE app.runs SET next_action = 'REPAIR' WHERE id = %(canceled)s",
    ),
    fault(
        "620_waiting_runs_wait_at_an_open_gate",
        "no next action",
        "UPDATE app.runs SET next_action = NULL WHERE id = %(waiting)s",
    ),
    fault(
        "620_waiting_runs_wait_at_an_open_gate",
        "waiting after the decision was carried out",
        "UPDATE app.runs SET status = 'waiting_input', next_action = 'APPROVE_PLAN' WHERE id = %(decided)s",
        note("decided", "waiting_input"),
    ),
    fault(
        "630_unfinished_runs_carry_no_outcome",
        "a running run with an error",
        "UPDATE app.runs SET error = 'left over' WHERE id = %(decided)s",
    ),
    fault(
        "630_unfinished_runs_carry_no_outcome",
        "a queued run at its second segment",
        "UPDATE app.runs SET segment = 2 WHERE id = %(queued)s",
    ),
    fault(
        "640_status_changes_are_recorded",
        "a change that is not recorded",
        "DELETE FROM app.run_changes WHERE run_id = %(waiting)s AND to_status = 'waiting_input'",
    ),
    fault(
        "640_status_changes_are_recorded",
        "no change is recorded",
        "DELETE FROM app.run_changes WHERE run_id = %(waiting)s",
    ),
    fault(
        "640_status_changes_are_recorded",
        "a change from another status",
        "UPDATE app.run_changes SET from_status = 'repairing' WHERE run_id = %(waiting)s",
    ),
    fault(
        "640_status_changes_are_recorded",
        "a change that no one caused, through a channel of people",
        "UPDATE app.run_changes SET channel = 'cli' WHERE run_id = %(waiting)s",
    ),
    fault(
        "640_status_changes_are_recorded",
        "a change by a person that the engine caused",
        "UPDATE app.run_changes SET person = 'ann' WHERE run_id = %(waiting)s",
    ),
)

_SHA256 = "encode(sha256(convert_to({}, 'UTF8')), 'hex')"
_WITHOUT_APPLY_PATCH = (
    "DELETE FROM app.artifacts WHERE run_id = %(canceled)s AND step_id = 'ApplyPatchST'",
    "DELETE FROM app.run_steps WHERE run_id = %(canceled)s AND step_id = 'ApplyPatchST'",
    "DELETE FROM app.human_gates WHERE run_id = %(canceled)s",
    "UPDATE app.runs SET last_step = 'CompileST' WHERE id = %(canceled)s",
)
_CHANGE = """'[{"path": "x", "op": "create", "old": null, "new": {"sha256": "0"}}]'"""
_CREATED = (
    """'[{"path": "x", "op": "create", "oldMode": null, "mode": "100644", "old": null, "new": {"sha256": """
    f""""{sha256_hex("")}"}}}}]'"""
)

PATCHES = (
    fault(
        "700_patches_stand_or_are_taken_back",
        "a rejected patch that stands",
        "UPDATE app.patch_history SET rolled_back_at = NULL WHERE run_id = %(rejected)s AND patch_index = 0",
    ),
    fault(
        "700_patches_stand_or_are_taken_back",
        "a succeeded run without its patch",
        "UPDATE app.patch_history SET rolled_back_at = now() WHERE run_id = %(succeeded)s AND patch_index = 0",
    ),
    fault(
        "710_patches_are_the_plans",
        "another content than the plan's",
        "UPDATE app.patch_history SET postimage_content = 'other' WHERE run_id = %(decided)s AND patch_index = 0",
    ),
    fault(
        "710_patches_are_the_plans",
        "a patch the plan does not have",
        "UPDATE app.patch_history SET patch_index = 5 WHERE run_id = %(canceled)s AND patch_index = 1",
        *_WITHOUT_APPLY_PATCH,
    ),
    fault(
        "710_patches_are_the_plans",
        "another mode than the plan's",
        "UPDATE app.patch_history SET postimage_mode = 493 WHERE run_id = %(canceled)s AND patch_index = 1",
        *_WITHOUT_APPLY_PATCH,
    ),
    fault(
        "710_patches_are_the_plans",
        "another operation than the plan's",
        "UPDATE app.patch_history SET op = 'rename', from_path = 'x', preimage_hash = postimage_hash, "
        "preimage_content = postimage_content, preimage_mode = 420 "
        "WHERE run_id = %(canceled)s AND patch_index = 1",
        *_WITHOUT_APPLY_PATCH,
    ),
    fault(
        "720_patch_cards_say_what_was_applied",
        "another card",
        f"UPDATE app.artifacts SET sha256 = {ZEROS} "
        "WHERE run_id = %(decided)s AND kind = 'patch_apply' AND idx = 0",
    ),
    fault(
        "725_approved_changes_are_the_patches",
        "another mode than the patch's",
        f"UPDATE app.complete_plans SET changes = {_CREATED}, "
        f"head = replace(head, {_SHA256.format('changes')}, {_SHA256.format(_CREATED)}) WHERE run_id = %(waiting)s",
        f"UPDATE app.complete_plans SET plan_sha256 = {_SHA256.format('head')} WHERE run_id = %(waiting)s",
        "UPDATE app.human_gates gate SET plan_sha256 = plan.plan_sha256 FROM app.complete_plans plan "
        "WHERE gate.run_id = %(waiting)s AND plan.run_id = gate.run_id",
        "UPDATE app.run_steps SET output = output - 'patchPlan' || "
        """'{"patchPlan": [{"targetPath": "x", "op": "create", "postimageContent": "", "mode": "100755"}]}' """
        "WHERE run_id = %(waiting)s AND step_id = 'CompileST'",
        "UPDATE app.artifacts SET kind = 'patch_apply', idx = 0 WHERE run_id = %(waiting)s AND kind = 'none'",
    ),
    fault(
        "725_approved_changes_are_the_patches",
        "a change that no patch makes",
        f"UPDATE app.complete_plans SET changes = {_CHANGE}, "
        f"head = replace(head, {_SHA256.format('changes')}, {_SHA256.format(_CHANGE)}) WHERE run_id = %(waiting)s",
        f"UPDATE app.complete_plans SET plan_sha256 = {_SHA256.format('head')} WHERE run_id = %(waiting)s",
        "UPDATE app.human_gates gate SET plan_sha256 = plan.plan_sha256 FROM app.complete_plans plan "
        "WHERE gate.run_id = %(waiting)s AND plan.run_id = gate.run_id",
    ),
    fault(
        "725_approved_changes_are_the_patches",
        "a patch that the complete plan does not name",
        "UPDATE app.run_steps SET output = output - 'patchPlan' || "
        """'{"patchPlan": [{"targetPath": "x", "postimageContent": "", "diffText": ""}]}' """
        "WHERE run_id = %(waiting)s AND step_id = 'CompileST'",
        "UPDATE app.artifacts SET kind = 'patch_apply', idx = 0 WHERE run_id = %(waiting)s AND kind = 'none'",
    ),
)
