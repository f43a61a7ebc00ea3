-- A succeeded run has all four steps, an ExecuteST with error code NONE, no error and no next action.
-- source: docs/architecture.md, Life of an intent
WITH steps AS (
    SELECT run_id, count(DISTINCT step_id) AS steps,
        (array_agg(output ->> 'errCode' ORDER BY attempt DESC) FILTER (WHERE step_id = 'ExecuteST'))[1] AS err_code
    FROM app.run_steps
    GROUP BY run_id
)
SELECT r.id AS run_id,
    format('%s of 4 steps, ExecuteST ended %s, error: %s, next action: %s', coalesce(s.steps, 0),
        coalesce(s.err_code, 'not at all'), coalesce(r.error, 'none'), coalesce(r.next_action, 'none')) AS detail
FROM app.runs r
LEFT JOIN steps s ON s.run_id = r.id
WHERE r.status = 'succeeded'
  AND ((s.steps, s.err_code) IS DISTINCT FROM (4, 'NONE')
       OR r.error IS NOT NULL OR coalesce(r.next_action, 'NONE') <> 'NONE')
ORDER BY r.id
