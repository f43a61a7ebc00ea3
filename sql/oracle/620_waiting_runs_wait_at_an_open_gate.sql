-- A run in status waiting_input has an open gate and the next action of that gate: approval or answer; or it waits for
-- the plan of a coding agent and has requested it: its first plan before any gate, or the changes that a person
-- requested at the plan gate. It has no error and no step from after the gate.
-- source: docs/architecture.md, Gate
WITH asked AS (
    SELECT id AS run_id, next_action, error, retry_count, next_action = 'PLAN' AND last_step IS NULL AS is_first_plan,
        next_action = 'PLAN' AND last_step IS NOT NULL AS is_changed
    FROM app.runs
    WHERE status = 'waiting_input'
), expected AS (
    SELECT a.*,
        CASE WHEN next_action = 'ANSWER' THEN 'ask-user'
            WHEN next_action = 'APPROVE_PLAN' OR is_changed THEN 'approve-plan' END AS purpose,
        CASE WHEN next_action = 'ANSWER' THEN ARRAY['ApplyPatchST', 'DecideST', 'ExecuteST']
            WHEN is_first_plan THEN ARRAY['CompileST', 'ApplyPatchST', 'DecideST', 'ExecuteST']
            ELSE ARRAY['DecideST', 'ExecuteST'] END AS behind
    FROM asked a
), later AS (
    SELECT DISTINCT e.run_id FROM expected e JOIN app.run_steps s ON s.run_id = e.run_id AND s.step_id = ANY(e.behind)
)
SELECT e.run_id,
    format('gate: %s, next action: %s, error: %s, later step: %s, changes: %s', coalesce(g.gate_key, q.op_key, 'none'),
        coalesce(e.next_action, 'none'), coalesce(e.error, 'none'), l.run_id IS NOT NULL,
        coalesce(r.outcome, 'none')) AS detail
FROM expected e
LEFT JOIN app.human_gates g ON g.run_id = e.run_id AND g.purpose = e.purpose
LEFT JOIN app.plan_questions q
    ON q.run_id = e.run_id AND q.attempt = e.retry_count + 1 AND q.round = 1 AND e.is_first_plan
LEFT JOIN app.plan_rounds r ON r.run_id = e.run_id AND r.outcome = 'planning'
LEFT JOIN later l ON l.run_id = e.run_id
WHERE (g.run_id IS NULL AND q.run_id IS NULL) OR e.error IS NOT NULL OR l.run_id IS NOT NULL
   OR (r.run_id IS NOT NULL) <> coalesce(e.is_changed, false)
ORDER BY e.run_id
