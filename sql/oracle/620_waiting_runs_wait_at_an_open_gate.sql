-- A run that waits for a person has an open gate, asks for the approval, and has neither an error nor a later step.
-- source: design §2.3, reference §D3
WITH later AS (
    SELECT DISTINCT run_id FROM app.run_steps WHERE step_id IN ('DecideST', 'ExecuteST')
)
SELECT r.id AS run_id,
    format('gate: %s, next action: %s, error: %s, later step: %s', coalesce(g.gate_key, 'none'),
        coalesce(r.next_action, 'none'), coalesce(r.error, 'none'), l.run_id IS NOT NULL) AS detail
FROM app.runs r
LEFT JOIN app.human_gates g ON g.run_id = r.id AND g.purpose = 'approve-plan'
LEFT JOIN later l ON l.run_id = r.id
WHERE r.status = 'waiting_input'
  AND (g.run_id IS NULL OR r.next_action IS DISTINCT FROM 'APPROVE_PLAN' OR r.error IS NOT NULL
       OR l.run_id IS NOT NULL)
ORDER BY r.id
