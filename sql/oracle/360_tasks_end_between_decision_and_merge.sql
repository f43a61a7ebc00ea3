-- A task's result is stored after the commit of DecideST and before that of ExecuteST. Results of a retry without
-- an ExecuteST of its own are stored after the previous one.
-- source: docs/architecture.md, Fan-out
WITH bounds AS (
    SELECT run_id,
        max(finished_at) FILTER (WHERE step_id = 'DecideST') AS decided_at,
        max(finished_at) FILTER (WHERE step_id = 'ExecuteST') AS merged_at,
        (max(attempt) FILTER (WHERE step_id = 'ExecuteST') - 1) / 3 AS merged_retry
    FROM app.run_steps
    WHERE step_id IN ('DecideST', 'ExecuteST')
    GROUP BY run_id
)
SELECT s.run_id, s.task_key,
    'kept ' || s.created_at || ', DecideST ' || b.decided_at || ', ExecuteST ' || coalesce(b.merged_at::text, 'open')
        AS detail
FROM app.sbx_runs s
JOIN bounds b ON b.run_id = s.run_id
JOIN app.runs r ON r.id = s.run_id
WHERE s.step_id = 'ExecuteST'
  AND (s.created_at < b.decided_at
       OR (s.created_at > b.merged_at AND (s.retry <= b.merged_retry OR r.status = 'succeeded')))
ORDER BY s.run_id, s.task_key
