"""How the laws about coding agents and their plans are broken."""

from tests.integration.oracle.faults.change import ZEROS, fault

_CALL = "UPDATE app.opencode_calls SET {0} WHERE run_id = %(planned)s"
_QUESTION = "(SELECT op_key FROM app.plan_questions WHERE run_id = %({0})s)"
_WORKFLOW = "UPDATE dbos.workflow_status SET {0} WHERE workflow_uuid = "

PLANS = (
    fault("150_answers_follow_their_question", "a try is missing", _CALL.format("try = 3") + " AND is_final"),
    fault("150_answers_follow_their_question", "the answer to another attempt", _CALL.format("attempt = 2")),
    fault(
        "152_compiled_plan_is_the_agents_answer",
        "the plan names other risks",
        _CALL.format("""structured = jsonb_set(structured, '{risks}', '["another"]')"""),
    ),
    fault(
        "154_agents_changes_are_the_scratch_difference",
        "the hash of another difference",
        _CALL.format(f"changes_sha256 = {ZEROS}"),
    ),
    fault(
        "154_agents_changes_are_the_scratch_difference",
        "another difference than the plan's",
        _CALL.format("changes = '[]', changes_sha256 = encode(sha256('[]'), 'hex')"),
    ),
    fault(
        "156_answers_stay_in_the_plan_budget",
        "more tokens than the budget",
        """UPDATE app.runs SET budget = '{"maxPlanTokens": 1049}' WHERE id = %(planned)s""",
    ),
    fault(
        "156_answers_stay_in_the_plan_budget",
        "a limit of money and no known cost",
        """UPDATE app.runs SET budget = '{"maxPlanCostUSD": 1}' WHERE id = %(planned)s""",
        _CALL.format("cost_usd = NULL"),
    ),
    fault(
        "158_revised_plan_is_the_agents_answer",
        "the version names other risks",
        "UPDATE app.plan_versions SET plan = jsonb_set(plan, '{risks}', '[\"another\"]') "
        "WHERE run_id = %(revised)s",
    ),
    fault(
        "158_revised_plan_is_the_agents_answer",
        "an answer without a version",
        "DELETE FROM app.plan_versions WHERE run_id = %(revising)s",
        "DELETE FROM app.complete_plans WHERE run_id = %(revising)s AND version > 1",
        "DELETE FROM app.change_requests WHERE run_id = %(revising)s AND round = 3",
        "DELETE FROM app.plan_questions WHERE run_id = %(revising)s AND round = 3",
        "UPDATE app.runs SET next_action = 'APPROVE_PLAN' WHERE id = %(revising)s",
        "DELETE FROM dbos.workflow_status WHERE queue_name = 'compileQ' "
        "AND workflow_uuid NOT IN (SELECT op_key FROM app.plan_questions)",
    ),
    fault(
        "158_revised_plan_is_the_agents_answer",
        "a version of another plan than the one to change",
        f"UPDATE app.plan_versions SET based_on_sha256 = {ZEROS} WHERE run_id = %(revised)s",
    ),
    fault(
        "159_change_requests_stay_in_their_bound",
        "more requests than the recipe allows",
        "UPDATE app.recipes SET max_change_requests = 1",
    ),
    fault(
        "159_change_requests_stay_in_their_bound",
        "a question that was not requested",
        "INSERT INTO app.plan_questions "
        "(op_key, run_id, step_id, attempt, round, prompt, prompt_sha256, schema_sha256) "
        f"VALUES ('op_' || {ZEROS}, %(waiting)s, 'CompileST', 1, 2, '', {ZEROS}, {ZEROS})",
    ),
    fault(
        "159_change_requests_stay_in_their_bound",
        "a deadline while the plan is changed",
        "UPDATE app.human_gates SET deadline_at = now() WHERE run_id = %(revising)s",
    ),
    fault(
        "232_authors_do_not_approve",
        "a person who requested changes approved against the policy",
        "UPDATE app.runs SET approval_rules = approval_rules || '{\"requesterApproval\": false}' "
        "WHERE id = %(revised)s",
    ),
    fault(
        "620_waiting_runs_wait_at_an_open_gate",
        "a run does not wait for the changes of its plan",
        "UPDATE app.runs SET next_action = 'APPROVE_PLAN' WHERE id = %(revising)s",
    ),
    fault(
        "620_waiting_runs_wait_at_an_open_gate",
        "a plan that was not asked for",
        "DELETE FROM app.plan_questions WHERE run_id = %(asking)s",
    ),
    fault(
        "850_ended_runs_leave_no_work",
        "a question of an ended run is asked",
        _WORKFLOW.format("status = 'PENDING'") + _QUESTION.format("unplanned"),
        "UPDATE app.runs SET updated_at = now() - interval '1 minute' WHERE id = %(unplanned)s",
    ),
    fault(
        "880_questions_are_on_compileq",
        "another queue",
        _WORKFLOW.format("queue_name = 'controlQ'") + _QUESTION.format("asking"),
    ),
    fault(
        "880_questions_are_on_compileq",
        "a version that is no successor of the run's",
        _WORKFLOW.format("application_version = 'v2'") + _QUESTION.format("asking"),
    ),
    fault(
        "880_questions_are_on_compileq",
        "another partition than the run's",
        _WORKFLOW.format("queue_partition_key = 'elsewhere'") + _QUESTION.format("asking"),
    ),
)
