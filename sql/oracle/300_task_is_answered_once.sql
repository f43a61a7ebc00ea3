-- A task key has one final result in the database, and it belongs to ExecuteST.
-- source: hard law "Exactly-Once" (docs/operator-guide.md)
SELECT run_id, step_id, task_key, 'one of ' || count(*) OVER (PARTITION BY task_key) || ' results of this key' AS detail
FROM app.sbx_runs
WHERE step_id <> 'ExecuteST'
   OR task_key IN (SELECT task_key FROM app.sbx_runs GROUP BY task_key HAVING count(*) > 1)
ORDER BY task_key, run_id, step_id
