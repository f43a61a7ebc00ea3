"""How the laws about the human gate are broken."""

from tests.integration.oracle.faults.change import ADD_RECEIPT, ZEROS, fault

_RECORD = "UPDATE app.plan_approvals made SET record = app.approval_record(made) WHERE run_id = %(decided)s"
_UNCOUNTED = "DELETE FROM app.approval_votes WHERE run_id = %(decided)s"
_VOTE_RECORD = (
    "UPDATE app.approval_votes SET record = replace(record, '\"api\"', to_json(channel)::text) "
    "WHERE run_id = %(decided)s"
)
FORBID_SELF_APPROVAL = (
    "UPDATE app.runs SET approval_rules = approval_rules || '{\"selfApproval\": false}' WHERE id = %(decided)s"
)

GATE = (
    fault(
        "200_gate_opens_with_patched_plan",
        "no gate",
        "DELETE FROM app.human_gates WHERE run_id = %(decided)s",
    ),
    fault(
        "200_gate_opens_with_patched_plan",
        "a made-up key",
        "UPDATE app.human_gates SET gate_key = 'approve-plan-0', topic = 'human:approve-plan-0' "
        "WHERE run_id = %(waiting)s",
    ),
    fault(
        "200_gate_opens_with_patched_plan",
        "a gate before its step",
        "INSERT INTO app.human_gates (run_id, gate_key, step_id, purpose, topic, plan_sha256) "
        f"VALUES (%(queued)s, 'approve-plan-0', 'ApplyPatchST', 'approve-plan', 'human:approve-plan-0', {ZEROS})",
    ),
    fault(
        "202_plan_hash_covers_its_sections",
        "another command in the tasks",
        "UPDATE app.complete_plans SET tasks = replace(tasks, 'pnpm', 'npm') WHERE run_id = %(waiting)s",
    ),
    fault(
        "202_plan_hash_covers_its_sections",
        "a head that names another base",
        "UPDATE app.complete_plans SET base = replace(base, '44136fa3', '00000000') WHERE run_id = %(waiting)s",
    ),
    fault(
        "202_plan_hash_covers_its_sections",
        "another head",
        "UPDATE app.complete_plans SET head = replace(head, '\"v\":1', '\"v\":2') WHERE run_id = %(waiting)s",
    ),
    fault(
        "202_plan_hash_covers_its_sections",
        "an edited version under another hash",
        "INSERT INTO app.complete_plans SELECT run_id, 2, plan_sha256, head, changes, tasks, recipe, policy, base "
        "FROM app.complete_plans WHERE run_id = %(waiting)s",
        "INSERT INTO app.plan_versions (run_id, version, plan, plan_sha256, based_on_sha256, edited_by) "
        f"SELECT run_id, 2, output, {ZEROS}, {ZEROS}, 'eve' FROM app.run_steps "
        "WHERE run_id = %(waiting)s AND step_id = 'CompileST'",
    ),
    fault(
        "207_plan_starts_from_the_resolved_commit",
        "another commit",
        "UPDATE app.run_bases SET commit_id = repeat('0', 40) WHERE run_id = %(from_commit)s",
    ),
    fault(
        "207_plan_starts_from_the_resolved_commit",
        "another repository",
        "UPDATE app.run_bases SET address = '/elsewhere' WHERE run_id = %(from_commit)s",
    ),
    fault(
        "207_plan_starts_from_the_resolved_commit",
        "a commit that the plan does not name",
        "INSERT INTO app.run_bases (run_id, address, ref, commit_id, tree_id) "
        "VALUES (%(waiting)s, '/a', 'main', repeat('0', 40), repeat('0', 40))",
    ),
    fault(
        "208_plan_changes_files_of_the_commit",
        "other old content",
        "UPDATE app.base_files SET content = 'other' WHERE run_id = %(from_commit)s AND path = 'app.py'",
    ),
    fault(
        "208_plan_changes_files_of_the_commit",
        "a created file that was there",
        "UPDATE app.base_files SET mode = '100644', content = '' "
        "WHERE run_id = %(from_commit)s AND path = 'new.py'",
    ),
    fault(
        "208_plan_changes_files_of_the_commit",
        "a file that is not stored",
        "DELETE FROM app.base_files WHERE run_id = %(from_commit)s AND path = 'gone'",
    ),
    fault(
        "205_gate_asks_about_the_compiled_plan",
        "the complete plan is gone",
        "DELETE FROM app.complete_plans WHERE run_id = %(waiting)s",
    ),
    fault(
        "205_gate_asks_about_the_compiled_plan",
        "another plan at the gate",
        f"UPDATE app.human_gates SET plan_sha256 = {ZEROS} WHERE run_id = %(waiting)s",
    ),
    fault(
        "210_decision_step_has_an_approval",
        "no approval",
        "DELETE FROM app.plan_approvals WHERE run_id = %(decided)s",
    ),
    fault(
        "210_decision_step_has_an_approval",
        "the plan was rejected",
        "UPDATE app.plan_approvals SET decision = 'rejected' WHERE run_id = %(decided)s",
        _RECORD,
    ),
    fault(
        "212_decision_step_follows_the_decision",
        "DecideST did not wait",
        "UPDATE app.plan_approvals SET decided_at = decided_at + interval '1 hour' WHERE run_id = %(decided)s",
        _RECORD,
    ),
    fault(
        "214_decision_is_about_this_plan",
        "another plan was approved",
        f"UPDATE app.plan_approvals SET plan_sha256 = {ZEROS} WHERE run_id = %(decided)s",
        _RECORD,
        f"UPDATE app.human_interactions SET plan_sha256 = {ZEROS} WHERE run_id = %(decided)s",
        f"UPDATE app.approval_votes SET record = replace(record, plan_sha256, {ZEROS}), plan_sha256 = {ZEROS} "
        "WHERE run_id = %(decided)s",
    ),
    fault(
        "213_decision_names_its_plan",
        "a rejection of no plan",
        "UPDATE app.plan_approvals SET plan_sha256 = NULL, record = NULL, channel = NULL "
        "WHERE run_id = %(rejected)s",
    ),
    fault(
        "216_approval_record_states_the_decision",
        "another person in the record",
        "UPDATE app.plan_approvals SET record = replace(record, 'ann', 'eve') WHERE run_id = %(decided)s",
    ),
    fault(
        "216_approval_record_states_the_decision",
        "another person beside the record",
        "UPDATE app.plan_approvals SET decided_by = 'eve' WHERE run_id = %(decided)s",
    ),
    fault(
        "216_approval_record_states_the_decision",
        "a decision without a record",
        "UPDATE app.plan_approvals SET record = NULL WHERE run_id = %(rejected)s",
    ),
    fault(
        "216_approval_record_states_the_decision",
        "a blank in the record",
        "UPDATE app.plan_approvals SET record = replace(record, ',', ', ') WHERE run_id = %(rejected)s",
    ),
    fault(
        "216_approval_record_states_the_decision",
        "another policy in the record",
        'UPDATE app.plan_approvals SET record = replace(record, \'"policy":{"id":"\', \'"policy":{"id":"x\') '
        "WHERE run_id = %(decided)s",
    ),
    fault(
        "217_deadlines_decide_by_their_own_channel",
        "a person decided as the deadline",
        "UPDATE app.plan_approvals SET channel = 'deadline' WHERE run_id = %(decided)s",
        _RECORD,
    ),
    fault(
        "219_deadlines_decide_no_earlier",
        "a rejection before the deadline",
        "UPDATE app.human_gates SET deadline_at = clock_timestamp() + interval '1 hour' "
        "WHERE run_id = %(rejected)s",
        "UPDATE app.plan_approvals made SET decided_by = 'sisu:deadline', channel = 'deadline' "
        "WHERE run_id = %(rejected)s",
        "UPDATE app.plan_approvals made SET record = app.approval_record(made) WHERE run_id = %(rejected)s",
    ),
    fault(
        "219_deadlines_decide_no_earlier",
        "a question closed without a deadline",
        "INSERT INTO app.gate_answers (run_id, gate_key, answered_by) "
        "SELECT run_id, gate_key, 'sisu:deadline' FROM app.human_gates WHERE run_id = %(waiting)s",
    ),
    fault(
        "219_deadlines_decide_no_earlier",
        "a reopened gate that was decided too early",
        "INSERT INTO app.passed_deadlines (run_id, gate_key, number, deadline_at, decided_at, reopened_by, reason) "
        "SELECT run_id, gate_key, 1, created_at, created_at - interval '1 second', 'eve', '' "
        "FROM app.human_gates WHERE run_id = %(waiting)s",
    ),
    fault(
        "218_each_counted_approval_has_a_record",
        "a person who did not approve",
        "UPDATE app.plan_approvals SET approvers = '{eve}' WHERE run_id = %(decided)s",
    ),
    fault(
        "218_each_counted_approval_has_a_record",
        "an approval without a record",
        _UNCOUNTED,
    ),
    fault(
        "218_each_counted_approval_has_a_record",
        "a record of an approval that is not counted",
        "INSERT INTO app.approval_votes (run_id, person, plan_sha256, channel, voted_at, record) "
        "SELECT run_id, 'eve', plan_sha256, channel, voted_at, replace(record, '\"ann\"', '\"eve\"') "
        "FROM app.approval_votes WHERE run_id = %(decided)s",
        "INSERT INTO app.human_interactions "
        "(run_id, gate_key, dedupe_key, kind, actor, plan_sha256, payload, payload_hash, channel, created_at) "
        "SELECT run_id, gate_key, 'eve', kind, 'eve', plan_sha256, payload, payload_hash, channel, created_at "
        "FROM app.human_interactions WHERE run_id = %(decided)s",
    ),
    fault(
        "218_each_counted_approval_has_a_record",
        "another channel than the person's",
        "UPDATE app.approval_votes SET channel = 'cli' WHERE run_id = %(decided)s",
        _VOTE_RECORD,
    ),
    fault(
        "218_each_counted_approval_has_a_record",
        "another time than the person's",
        "UPDATE app.approval_votes SET voted_at = voted_at - interval '1 day', record = replace(record, "
        "to_char(voted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), "
        "to_char((voted_at - interval '1 day') AT TIME ZONE 'UTC', 'YYYY-MM-DD')) WHERE run_id = %(decided)s",
    ),
    fault(
        "218_each_counted_approval_has_a_record",
        "another plan than the decision's",
        f"UPDATE app.approval_votes SET record = replace(record, plan_sha256, {ZEROS}), plan_sha256 = {ZEROS} "
        "WHERE run_id = %(decided)s",
    ),
    fault(
        "218_each_counted_approval_has_a_record",
        "a blank in the record",
        "UPDATE app.approval_votes SET record = replace(record, ',', ', ') WHERE run_id = %(decided)s",
    ),
    fault(
        "220_nothing_executes_before_approval",
        "a task of a waiting run",
        ADD_RECEIPT.format("waiting"),
    ),
    fault(
        "220_nothing_executes_before_approval",
        "a task executed before the decision",
        "UPDATE app.mock_receipts SET started_at = started_at - interval '1 hour' WHERE run_id = %(alone)s",
    ),
    fault(
        "035_run_is_pinned_to_its_policy",
        "another content of the policy",
        f"UPDATE app.runs SET policy_sha256 = {ZEROS} WHERE id = %(waiting)s",
    ),
    fault(
        "035_run_is_pinned_to_its_policy",
        "a version that does not exist",
        "UPDATE app.runs SET policy_version = 99 WHERE id = %(waiting)s",
    ),
    fault(
        "035_run_is_pinned_to_its_policy",
        "a deadline that may approve after all",
        "UPDATE app.runs SET approval_rules = approval_rules || '{\"deadlineMayApprove\": true}' "
        "WHERE id = %(waiting)s",
    ),
    fault(
        "035_run_is_pinned_to_its_policy",
        "a longer deadline",
        "UPDATE app.runs SET approval_rules = approval_rules || '{\"longestDeadlineS\": 2592001}' "
        "WHERE id = %(waiting)s",
    ),
    fault(
        "035_run_is_pinned_to_its_policy",
        "other approvers",
        "UPDATE app.runs SET approval_rules = approval_rules || "
        '\'{"approvers": {"people": ["ann"], "groups": []}}\' WHERE id = %(waiting)s',
    ),
    fault(
        "230_deadlines_approve_only_where_allowed",
        "a deadline approved",
        "UPDATE app.human_gates SET deadline_at = created_at WHERE run_id = %(decided)s",
        "UPDATE app.plan_approvals SET decided_by = 'sisu:deadline', channel = 'deadline', approvers = '{}' "
        "WHERE run_id = %(decided)s",
        _RECORD,
        _UNCOUNTED,
    ),
    fault(
        "230_deadlines_approve_only_where_allowed",
        "the system approved under another name",
        "UPDATE app.plan_approvals SET decided_by = 'sisu:sensor', approvers = '{}' WHERE run_id = %(decided)s",
        _RECORD,
        _UNCOUNTED,
    ),
    fault(
        "232_authors_do_not_approve",
        "the submitter is unknown",
        FORBID_SELF_APPROVAL,
    ),
    fault(
        "232_authors_do_not_approve",
        "the submitter approved",
        FORBID_SELF_APPROVAL,
        "UPDATE app.submissions SET person = 'ann' WHERE intent_id = %(decided_intent)s",
    ),
    fault(
        "232_authors_do_not_approve",
        "the editor approved",
        FORBID_SELF_APPROVAL,
        "UPDATE app.submissions SET person = 'bob' WHERE intent_id = %(decided_intent)s",
        "INSERT INTO app.plan_versions (run_id, version, plan, plan_sha256, based_on_sha256, edited_by) "
        "SELECT run_id, 2, plan, g.plan_sha256, g.plan_sha256, 'ann' "
        "FROM app.current_plans c JOIN app.human_gates g USING (run_id) WHERE run_id = %(decided)s",
    ),
    fault(
        "234_approvals_meet_the_quorum",
        "one approval of two",
        "UPDATE app.runs SET approval_rules = approval_rules || '{\"approvals\": 2}' WHERE id = %(decided)s",
    ),
    fault(
        "234_approvals_meet_the_quorum",
        "one person counted twice",
        "UPDATE app.runs SET approval_rules = approval_rules || '{\"approvals\": 2}' WHERE id = %(decided)s",
        "UPDATE app.plan_approvals SET approvers = '{ann,ann}' WHERE run_id = %(decided)s",
    ),
    fault(
        "234_approvals_meet_the_quorum",
        "a person whom the intent does not name",
        'UPDATE app.runs SET approval_rules = approval_rules || \'{"namedApprovers": ["bob"]}\' '
        "WHERE id = %(decided)s",
    ),
    fault(
        "236_policies_approve_by_their_own_rule",
        "a policy without such a rule",
        "UPDATE app.plan_approvals SET decided_by = 'policy:default@1', channel = 'policy', approvers = '{}' "
        "WHERE run_id = %(decided)s",
        _RECORD,
        _UNCOUNTED,
    ),
    fault(
        "236_policies_approve_by_their_own_rule",
        "a person through the channel of policies",
        "UPDATE app.plan_approvals SET channel = 'policy' WHERE run_id = %(decided)s",
        _RECORD,
    ),
)
