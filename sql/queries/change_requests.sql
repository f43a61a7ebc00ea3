-- insert --
-- Record a request for changes, once per round. The caller has locked the run's row.
INSERT INTO app.change_requests (
    run_id, round, gate_key, dedupe_key, plan_sha256, comment, requested_by, channel, waits)
SELECT gate.run_id, %(round)s, gate.gate_key, %(dedupe_key)s, %(plan_sha256)s, %(comment)s, %(requested_by)s,
    %(channel)s,
    -- The deadline counts from when the gate opened last: at first, by an operator's retry, or after a round.
    gate.deadline_at - greatest(
        gate.created_at,
        (SELECT max(passed.reopened_at) FROM app.passed_deadlines passed
         WHERE passed.run_id = gate.run_id AND passed.gate_key = gate.gate_key),
        (SELECT max(call.created_at) FROM app.opencode_calls call
         JOIN app.plan_questions question ON question.op_key = call.op_key
         WHERE question.run_id = gate.run_id AND question.round > 1 AND call.is_final),
        (SELECT max(made.created_at) FROM app.plan_versions made
         WHERE made.run_id = gate.run_id AND made.round IS NOT NULL))
FROM app.human_gates gate
WHERE gate.run_id = %(run_id)s AND gate.gate_key = %(gate_key)s

-- of_run --
-- A run's requests for changes, in order.
SELECT * FROM app.plan_rounds WHERE run_id = %(run_id)s ORDER BY round

-- most --
-- How often people may request changes to the plan of a run, by the run's recipe.
SELECT recipe.max_change_requests FROM app.runs run JOIN app.recipes recipe ON recipe.id = run.recipe_id
WHERE run.id = %(run_id)s

-- is_planning --
-- Whether the changes that were requested for a run's plan are being planned.
SELECT EXISTS (SELECT FROM app.plan_rounds WHERE run_id = %(run_id)s AND outcome = 'planning') AS is_planning

-- stop_deadline --
-- Suspend the deadline of a plan gate while the plan is changed.
UPDATE app.human_gates SET deadline_at = NULL WHERE run_id = %(run_id)s AND gate_key = %(gate_key)s

-- restart_deadline --
-- Open a plan gate again: its deadline counts from now.
UPDATE app.human_gates gate SET deadline_at = clock_timestamp() + request.waits
FROM app.change_requests request
WHERE request.run_id = %(run_id)s AND request.round = %(round)s
  AND gate.run_id = request.run_id AND gate.gate_key = request.gate_key
