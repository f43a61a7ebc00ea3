-- ask --
-- Record a question to the agent, once.
INSERT INTO app.plan_questions (op_key, run_id, step_id, attempt, round, prompt, prompt_sha256, schema_sha256)
VALUES (%(op_key)s, %(run_id)s, %(step_id)s, %(attempt)s, %(round)s, %(prompt)s, %(prompt_sha256)s, %(schema_sha256)s)
ON CONFLICT DO NOTHING
RETURNING op_key

-- get --
-- One question, by its key.
SELECT * FROM app.plan_questions WHERE op_key = %(op_key)s

-- of_attempt --
-- The question of one attempt and round of a run, if there is one.
SELECT * FROM app.plan_questions WHERE run_id = %(run_id)s AND attempt = %(attempt)s AND round = %(round)s

-- of_round --
-- The newest question of one round of a run, whatever the attempt.
SELECT * FROM app.plan_questions WHERE run_id = %(run_id)s AND round = %(round)s ORDER BY attempt DESC LIMIT 1

-- count_tries --
-- How many sessions the ledger has for a question.
SELECT count(*) AS tries FROM app.opencode_calls WHERE op_key = %(op_key)s

-- spent --
-- What the sessions of a question have used so far.
SELECT coalesce(sum(input_tokens + output_tokens), 0)::bigint AS tokens, sum(cost_usd) AS cost_usd
FROM app.opencode_calls WHERE op_key = %(op_key)s

-- store --
-- Record a session, once. Of two final rows of one question, the first one counts.
INSERT INTO app.opencode_calls (
    id, op_key, run_id, step_id, attempt, try, outcome, is_final, structured, changes, changes_sha256, error, agent,
    agent_name, agent_version, session_id, stop_reasons, response, tool_calls, model, model_calls, uncounted_calls,
    input_tokens, output_tokens, cost_usd, peak_mb, durations_ms, transcript_uri, transcript_sha256)
VALUES (
    %(id)s, %(op_key)s, %(run_id)s, %(step_id)s, %(attempt)s, %(try)s, %(outcome)s, %(is_final)s, %(structured)s,
    %(changes)s, %(changes_sha256)s, %(error)s, %(agent)s, %(agent_name)s, %(agent_version)s, %(session_id)s,
    %(stop_reasons)s, %(response)s, %(tool_calls)s, %(model)s, %(model_calls)s, %(uncounted_calls)s,
    %(input_tokens)s, %(output_tokens)s, %(cost_usd)s, %(peak_mb)s, %(durations_ms)s, %(transcript_uri)s,
    %(transcript_sha256)s)
ON CONFLICT DO NOTHING
RETURNING id

-- settled --
-- The row that settles the first question of one attempt of a run: its answer, or the failure that gave it up.
SELECT c.*, q.prompt FROM app.opencode_calls c
JOIN app.plan_questions q ON q.op_key = c.op_key AND q.round = 1
WHERE c.run_id = %(run_id)s AND c.attempt = %(attempt)s AND c.is_final

-- is_settled --
-- Whether a question has an answer, or was given up.
SELECT EXISTS (SELECT FROM app.opencode_calls WHERE op_key = %(op_key)s AND is_final) AS is_settled

-- unqueued --
-- Questions of rounds that no queue has ever held, of the given runs or (null) of all.
SELECT q.* FROM app.plan_questions q
JOIN app.runs r ON r.id = q.run_id AND r.status IN ('running', 'waiting_input', 'repairing')
WHERE q.round > 1 AND q.attempt = r.retry_count + 1
  AND (%(run_ids)s::text[] IS NULL OR q.run_id = ANY(%(run_ids)s))
  AND NOT EXISTS (SELECT FROM app.opencode_calls c WHERE c.op_key = q.op_key AND c.is_final)
  AND NOT EXISTS (SELECT FROM dbos.workflow_status w WHERE w.workflow_uuid = q.op_key)
ORDER BY q.asked_at LIMIT 100

-- sessions --
-- The sessions of a run with a coding agent, in order.
SELECT c.*, q.round FROM app.opencode_calls c JOIN app.plan_questions q ON q.op_key = c.op_key
WHERE c.run_id = %(run_id)s ORDER BY c.attempt, q.round, c.try
