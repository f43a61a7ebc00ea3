-- A step is committed only after the step before it: CompileST, ApplyPatchST, DecideST, ExecuteST.
-- source: hard law "Stable Steps" (docs/operator-guide.md)
WITH follows (step_id, before_id) AS (
    VALUES ('ApplyPatchST', 'CompileST'), ('DecideST', 'ApplyPatchST'), ('ExecuteST', 'DecideST')
)
SELECT s.run_id, s.step_id, 'there is no ' || f.before_id || ' before it' AS detail
FROM app.run_steps s
JOIN follows f USING (step_id)
LEFT JOIN app.run_steps b ON b.run_id = s.run_id AND b.step_id = f.before_id
WHERE b.run_id IS NULL
ORDER BY s.run_id, s.step_id
