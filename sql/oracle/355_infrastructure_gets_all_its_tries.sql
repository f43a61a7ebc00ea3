-- An infrastructure failure becomes a task's result only after three tries, or as many as the run's budget allows.
-- source: reference §B5 (maxRetriesPerStep), §C6
SELECT s.run_id, s.task_key, s.err_code || ' became the result after ' || s.attempt || ' of '
    || least(3, (r.budget ->> 'maxRetriesPerStep')::int + 1) || ' tries' AS detail
FROM app.sbx_runs s
JOIN app.runs r ON r.id = s.run_id
WHERE s.err_code IN ('BOOT_FAIL', 'NET_FAIL', 'UPLOAD_FAIL', 'DOWNLOAD_FAIL')
  AND s.step_id = 'ExecuteST'
  AND s.attempt < least(3, (r.budget ->> 'maxRetriesPerStep')::int + 1)
ORDER BY s.run_id, s.task_key
