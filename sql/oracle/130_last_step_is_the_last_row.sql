-- The column last_step of a run names the furthest step that has a row. Both are written in one transaction.
-- source: docs/architecture.md, Steps
WITH furthest AS (
    SELECT run_id,
        (ARRAY['CompileST', 'ApplyPatchST', 'DecideST', 'ExecuteST'])[max(
            array_position(ARRAY['CompileST', 'ApplyPatchST', 'DecideST', 'ExecuteST'], step_id))] AS step_id
    FROM app.run_steps
    GROUP BY run_id
)
SELECT r.id AS run_id,
    'last_step is ' || coalesce(r.last_step, 'empty') || ', the furthest row is ' || coalesce(f.step_id, 'none')
        AS detail
FROM app.runs r
LEFT JOIN furthest f ON f.run_id = r.id
WHERE r.last_step IS DISTINCT FROM f.step_id
ORDER BY r.id
