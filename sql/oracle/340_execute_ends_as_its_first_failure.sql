-- ExecuteST's error code is that of the first failed task in fan-out order, or NONE. Its attempt is the highest
-- attempt of its tasks, plus three for each retry of the task. If a task failed for infrastructure reasons, there
-- is no ExecuteST.
-- source: docs/architecture.md, Fan-out
WITH executed AS (
    SELECT DISTINCT ON (run_id) run_id, attempt, output ->> 'errCode' AS err_code, (output ->> 'exit')::int AS exit,
        (output #>> '{raw,attempt}')::int AS raw_attempt
    FROM app.run_steps
    WHERE step_id = 'ExecuteST'
    ORDER BY run_id, attempt DESC
), merged AS (
    SELECT run_id, max(attempt + 3 * retry) AS attempt,
        (array_agg(err_code ORDER BY position) FILTER (WHERE err_code <> 'NONE'))[1] AS err_code,
        (array_agg((response ->> 'exit')::int ORDER BY position) FILTER (WHERE err_code <> 'NONE'))[1] AS exit,
        bool_or(err_code IN ('BOOT_FAIL', 'NET_FAIL', 'UPLOAD_FAIL', 'DOWNLOAD_FAIL')) AS gave_up
    FROM app.sbx_merged
    GROUP BY run_id
)
SELECT e.run_id,
    format('ExecuteST: %s, exit %s, attempt %s; its tasks: %s, exit %s, attempt %s%s', e.err_code, e.exit, e.attempt,
        coalesce(m.err_code, 'NONE'), coalesce(m.exit, 0), m.attempt,
        CASE WHEN m.gave_up THEN ', and the infrastructure gave up on one' ELSE '' END) AS detail
FROM executed e
JOIN merged m USING (run_id)
WHERE (e.err_code, e.exit, e.attempt, e.raw_attempt)
        IS DISTINCT FROM (coalesce(m.err_code, 'NONE'), coalesce(m.exit, 0), m.attempt, m.attempt)
   OR m.gave_up
ORDER BY e.run_id
