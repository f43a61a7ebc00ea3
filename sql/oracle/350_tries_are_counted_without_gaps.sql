-- The attempts of a task are numbered 1, 2, 3 and so on without gaps. Only infrastructure failures are attempted
-- again, at most three times per start or retry of the run. The result names the last attempt.
-- source: docs/architecture.md, Task results and artifacts
WITH tries AS (
    SELECT t.run_id, t.step_id, t.task_key, t.attempt, t.err_code,
        row_number() OVER task AS place,
        lead(t.attempt) OVER task IS NULL AS is_last
    FROM app.sbx_attempts t
    WINDOW task AS (PARTITION BY t.run_id, t.step_id, t.task_key ORDER BY t.attempt)
), judged AS (
    SELECT run_id, step_id, task_key, t.attempt AS try, t.err_code AS try_code, t.place, t.is_last,
        s.attempt AS result_attempt, s.err_code AS result_code
    FROM tries t
    FULL JOIN app.sbx_runs s USING (run_id, step_id, task_key)
)
SELECT j.run_id, j.task_key, j.try AS attempt,
    CASE WHEN j.try IS NULL THEN 'a result of attempt ' || j.result_attempt || ' without any try'
         WHEN j.try <> j.place THEN 'try ' || j.place || ' is numbered ' || j.try
         WHEN j.try > 3 * (r.retry_count + 1) THEN 'more tries than ' || r.retry_count || ' retries allow'
         WHEN NOT j.is_last THEN j.try_code || ' is never tried again'
         ELSE 'the last try ended ' || j.try_code || ', the result: '
            || coalesce(j.result_code || ' of attempt ' || j.result_attempt, 'none') END AS detail
FROM judged j
JOIN app.runs r ON r.id = j.run_id
WHERE j.step_id = 'ExecuteST' AND (
    j.try IS NULL
    OR j.try <> j.place
    OR j.try > 3 * (r.retry_count + 1)
    OR ((NOT j.is_last OR j.result_code IS NULL)
        AND j.try_code NOT IN ('BOOT_FAIL', 'NET_FAIL', 'UPLOAD_FAIL', 'DOWNLOAD_FAIL'))
    OR (j.is_last AND j.result_code IS NOT NULL AND (j.try, j.try_code) <> (j.result_attempt, j.result_code)))
ORDER BY j.run_id, j.task_key, j.try
