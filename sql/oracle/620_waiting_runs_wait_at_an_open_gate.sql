-- A run in status waiting_input has an open gate and the next action of that gate: approval or answer; or it waits for
-- the plan of a coding agent and has requested it. It has no error and no step from after the gate.
-- source: docs/architecture.md, Gate
WITH asked AS (
    SELECT id AS run_id, next_action, error, retry_count,
        CASE next_action WHEN 'ANSWER' THEN 'ask-user' WHEN 'APPROVE_PLAN' THEN 'approve-plan' END AS purpose,
        CASE next_action WHEN 'ANSWER' THEN ARRAY['ApplyPatchST', 'DecideST', 'ExecuteST']
            WHEN 'PLAN' THEN ARRAY['CompileST', 'ApplyPatchST', 'DecideST', 'ExecuteST']
            ELSE ARRAY['DecideST', 'ExecuteST'] END AS behind
    FROM app.runs
    WHERE status = 'waiting_input'
), later AS (
    SELECT DISTINCT a.run_id FROM asked a JOIN app.run_steps s ON s.run_id = a.run_id AND s.step_id = ANY(a.behind)
)
SELECT a.run_id,
    format('gate: %s, next action: %s, error: %s, later step: %s', coalesce(g.gate_key, q.op_key, 'none'),
        coalesce(a.next_action, 'none'), coalesce(a.error, 'none'), l.run_id IS NOT NULL) AS detail
FROM asked a
LEFT JOIN app.human_gates g ON g.run_id = a.run_id AND g.purpose = a.purpose
LEFT JOIN app.plan_questions q ON q.run_id = a.run_id AND q.attempt = a.retry_count + 1 AND a.next_action = 'PLAN'
LEFT JOIN later l ON l.run_id = a.run_id
WHERE (g.run_id IS NULL AND q.run_id IS NULL) OR a.error IS NOT NULL OR l.run_id IS NOT NULL
ORDER BY a.run_id
