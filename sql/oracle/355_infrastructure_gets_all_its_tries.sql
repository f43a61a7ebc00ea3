-- An infrastructure failure becomes the result of a task only after three attempts, or after as many as the budget
-- of the run allows.
-- source: docs/architecture.md, Task results and artifacts
SELECT s.run_id, s.task_key, s.err_code || ' became the result after ' || s.attempt || ' of '
    || least(3, (r.budget ->> 'maxRetriesPerStep')::int + 1) || ' tries' AS detail
FROM app.sbx_runs s
JOIN app.runs r ON r.id = s.run_id
WHERE s.err_code IN ('BOOT_FAIL', 'NET_FAIL', 'UPLOAD_FAIL', 'DOWNLOAD_FAIL')
  AND s.step_id = 'ExecuteST'
  AND s.attempt < least(3, (r.budget ->> 'maxRetriesPerStep')::int + 1)
ORDER BY s.run_id, s.task_key
