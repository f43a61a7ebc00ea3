"""How the laws about tasks, their artifacts and their receipts are broken."""

from tests.integration.oracle.faults.change import ADD_RECEIPT, ZEROS, fault

_FIRST_TASK = "run_id = %(succeeded)s AND position = 0"
_A_TASK = "task_key = (SELECT min(task_key) FROM app.sbx_runs WHERE run_id = %(succeeded)s)"

TASKS = (
    fault(
        "315_tasks_are_those_of_the_approved_plan",
        "another setup than approved",
        f"UPDATE app.sbx_runs SET request = jsonb_set(request, '{{setup}}', to_jsonb({ZEROS})) "
        "WHERE run_id = %(prepared)s AND position = 0",
    ),
    fault(
        "316_tasks_found_the_recorded_setup",
        "the setup is not recorded",
        "DELETE FROM app.run_setups WHERE run_id = %(prepared)s",
    ),
    fault(
        "316_tasks_found_the_recorded_setup",
        "the setup failed",
        "UPDATE app.run_setups SET outcome = 'failed' WHERE run_id = %(prepared)s",
    ),
    fault(
        "316_tasks_found_the_recorded_setup",
        "another setup was prepared",
        f"UPDATE app.run_setups SET setup_sha256 = {ZEROS} WHERE run_id = %(prepared)s",
    ),
    fault(
        "316_tasks_found_the_recorded_setup",
        "the tasks found another layer",
        f"UPDATE app.run_setups SET layer_sha256 = {ZEROS} WHERE run_id = %(prepared)s",
    ),
    fault(
        "316_tasks_found_the_recorded_setup",
        "a setup of a plan without one",
        "INSERT INTO app.run_setups SELECT r.id, 0, u.setup_sha256, u.layer_sha256, 'mock', 'simulated', null, 0 "
        "FROM app.run_setups u, app.runs r WHERE u.run_id = %(prepared)s AND r.id = %(alone)s",
    ),
    fault(
        "300_task_is_answered_once",
        "two results of one key",
        "INSERT INTO app.sbx_runs SELECT run_id, 'DecideST', task_key, attempt, position, provider, request, "
        "response, err_code, metrics, created_at FROM app.sbx_runs WHERE run_id = %(alone)s",
    ),
    fault(
        "310_task_key_says_what_was_asked",
        "the request has another key",
        f"UPDATE app.sbx_runs SET request = jsonb_set(request, '{{taskKey}}', '\"k\"') WHERE {_FIRST_TASK}",
    ),
    fault(
        "315_tasks_are_those_of_the_approved_plan",
        "another command ran under the key",
        f"UPDATE app.sbx_runs SET request = jsonb_set(request, '{{cmd}}', '\"true\"') WHERE {_FIRST_TASK}",
    ),
    fault(
        "310_task_key_says_what_was_asked",
        "the intent's files are others",
        "UPDATE app.intents SET payload = jsonb_set(payload, '{inputs,files,tests/test_app.py}', '\"pass\"') "
        "WHERE id = %(succeeded_intent)s",
    ),
    fault(
        "315_tasks_are_those_of_the_approved_plan",
        "a task in a place the decision does not have",
        "UPDATE app.sbx_runs SET position = 7 WHERE run_id = %(gave_up)s",
    ),
    fault(
        "315_tasks_are_those_of_the_approved_plan",
        "the network was switched on",
        f"UPDATE app.sbx_runs SET request = jsonb_set(request, '{{net}}', 'true') WHERE {_FIRST_TASK}",
    ),
    fault(
        "315_tasks_are_those_of_the_approved_plan",
        "more time than approved",
        f"UPDATE app.sbx_runs SET request = jsonb_set(request, '{{timeoutMs}}', '300001') WHERE {_FIRST_TASK}",
    ),
    fault(
        "315_tasks_are_those_of_the_approved_plan",
        "more memory than approved",
        f"UPDATE app.sbx_runs SET request = jsonb_set(request, '{{limits,memMB}}', '1024') WHERE {_FIRST_TASK}",
    ),
    fault(
        "315_tasks_are_those_of_the_approved_plan",
        "an environment variable that was not approved",
        f"UPDATE app.sbx_runs SET request = jsonb_set(request, '{{env}}', '{{\"A\": \"b\"}}') WHERE {_FIRST_TASK}",
    ),
    fault(
        "315_tasks_are_those_of_the_approved_plan",
        "another provider",
        f"UPDATE app.sbx_runs SET provider = 'local' WHERE {_FIRST_TASK}",
        "DELETE FROM app.mock_receipts WHERE receipt_key IN "
        f"(SELECT task_key FROM app.sbx_runs WHERE {_FIRST_TASK})",
    ),
    fault(
        "320_execute_waits_for_every_task",
        "the decision asked for one task more",
        "UPDATE app.run_steps SET output = jsonb_insert(output, '{structured,tests,-1}', '\"more\"', true) "
        "WHERE run_id = %(succeeded)s AND step_id = 'DecideST'",
    ),
    fault(
        "330_execute_lists_the_kept_results",
        "another exit in the list",
        "UPDATE app.run_steps SET output = jsonb_set(output, '{raw,tasks,0,exit}', '7') "
        "WHERE run_id = %(succeeded)s AND step_id = 'ExecuteST'",
    ),
    fault(
        "330_execute_lists_the_kept_results",
        "a result that is not listed",
        "UPDATE app.run_steps SET output = output #- '{raw,tasks,1}' "
        "WHERE run_id = %(succeeded)s AND step_id = 'ExecuteST'",
    ),
    fault(
        "340_execute_ends_as_its_first_failure",
        "another error than the task's",
        "UPDATE app.run_steps SET output = jsonb_set(output, '{errCode}', '\"OOM\"') "
        "WHERE run_id = %(broken)s AND step_id = 'ExecuteST'",
    ),
    fault(
        "350_tries_are_counted_without_gaps",
        "a try is missing",
        "DELETE FROM app.sbx_attempts WHERE run_id = %(flaky)s AND attempt = 2",
    ),
    fault(
        "350_tries_are_counted_without_gaps",
        "a command's failure was tried again",
        "UPDATE app.sbx_attempts SET err_code = 'CMD_NONZERO' WHERE run_id = %(flaky)s AND attempt = 1",
    ),
    fault(
        "350_tries_are_counted_without_gaps",
        "a result without tries",
        "DELETE FROM app.sbx_attempts WHERE run_id = %(alone)s",
    ),
    fault(
        "350_tries_are_counted_without_gaps",
        "the last try ended otherwise",
        "UPDATE app.sbx_attempts SET err_code = 'OOM' WHERE run_id = %(alone)s",
    ),
    fault(
        "355_infrastructure_gets_all_its_tries",
        "given up at once",
        "UPDATE app.sbx_runs SET attempt = 1 WHERE run_id = %(gave_up)s",
        "DELETE FROM app.sbx_attempts WHERE run_id = %(gave_up)s AND attempt > 1",
    ),
    fault(
        "360_tasks_end_between_decision_and_merge",
        "a result after the merge",
        f"UPDATE app.sbx_runs SET created_at = created_at + interval '1 hour' WHERE {_FIRST_TASK}",
    ),
    fault(
        "370_fan_out_stays_in_its_budget",
        "two tasks, one allowed",
        "UPDATE app.runs SET budget = jsonb_set(budget, '{maxFanout}', '1') WHERE id = %(budgeted)s",
    ),
)

ARTIFACTS = (
    fault(
        "400_artifact_index_seals_its_artifacts",
        "another hash than the index lists",
        f"UPDATE app.artifacts SET sha256 = {ZEROS} WHERE run_id = %(succeeded)s AND kind = 'raw' AND {_A_TASK}",
    ),
    fault(
        "400_artifact_index_seals_its_artifacts",
        "another kind than the index lists",
        "UPDATE app.artifacts SET kind = CASE kind WHEN 'stdout' THEN 'stderr' ELSE 'stdout' END, "
        "inline = NULL WHERE run_id = %(alone)s AND kind IN ('stdout', 'stderr')",
    ),
    fault(
        "410_every_task_leaves_its_artifacts",
        "a file that was not kept",
        "UPDATE app.sbx_runs SET response = jsonb_insert(response, '{filesOut,0}', '{\"path\": \"lost.txt\"}') "
        f"WHERE {_FIRST_TASK}",
    ),
    fault(
        "410_every_task_leaves_its_artifacts",
        "artifacts of a task without a result",
        "INSERT INTO app.artifacts (run_id, step_id, task_key, idx, kind, uri, sha256) SELECT id, 'ExecuteST', "
        f"'k', 0, 'artifact_index', 'artifact://run/' || id || '/step/ExecuteST/task/k/index.json', {ZEROS} "
        "FROM app.runs WHERE id = %(decided)s",
    ),
    fault(
        "420_text_hashes_to_its_sha256",
        "another text",
        'UPDATE app.artifacts SET inline = \'{"text": "other"}\' '
        f"WHERE run_id = %(succeeded)s AND kind = 'stdout' AND {_A_TASK}",
    ),
    fault(
        "420_text_hashes_to_its_sha256",
        "other bytes",
        'UPDATE app.artifacts SET inline = \'{"base64": "AAE="}\' '
        f"WHERE run_id = %(succeeded)s AND kind = 'file' AND {_A_TASK}",
    ),
    fault(
        "430_artifacts_are_the_results_content",
        "another stdout in the result",
        f"UPDATE app.sbx_runs SET response = jsonb_set(response, '{{stdout}}', '\"other\"') WHERE {_FIRST_TASK}",
    ),
    fault(
        "430_artifacts_are_the_results_content",
        "other metrics in the result",
        f"UPDATE app.sbx_runs SET metrics = jsonb_set(metrics, '{{wallMs}}', '99') WHERE {_FIRST_TASK}",
    ),
    fault(
        "440_artifact_addresses_name_one_content",
        "an address of another run",
        "UPDATE app.artifacts SET uri = replace(uri, run_id, 'run_other') "
        "WHERE run_id = %(waiting)s AND kind = 'plan_card'",
    ),
    fault(
        "440_artifact_addresses_name_one_content",
        "two contents at one address",
        "UPDATE app.artifacts SET uri = replace(uri, 'patch-1', 'patch-0') "
        "WHERE run_id = %(succeeded)s AND kind = 'patch_apply' AND idx = 1",
    ),
)

RECEIPTS = (
    fault(
        "500_task_is_executed_once",
        "executed twice",
        "UPDATE app.mock_receipts SET seen_count = 2, request_count = 2 WHERE run_id = %(alone)s",
    ),
    fault(
        "510_results_and_receipts_agree",
        "a result without an execution",
        "DELETE FROM app.mock_receipts WHERE run_id = %(alone)s",
    ),
    fault(
        "510_results_and_receipts_agree",
        "an execution without a result",
        ADD_RECEIPT.format("succeeded"),
    ),
    fault(
        "520_requests_carry_their_idempotency_key",
        "a request without a key",
        "UPDATE app.mock_receipts SET idempotency_key = NULL WHERE run_id = %(alone)s",
    ),
)
