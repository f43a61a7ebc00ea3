-- A run that failed, exceeded its retries or was canceled has an error and the matching next action: REPAIR after
-- a failure, NONE after a cancellation or a success.
-- source: docs/architecture.md, Life of an intent
SELECT id AS run_id,
    status || ', error: ' || coalesce(error, 'none') || ', next action: ' || coalesce(next_action, 'none') AS detail
FROM app.runs
WHERE status IN ('failed', 'retries_exceeded', 'canceled')
  AND (coalesce(error, '') = ''
       OR next_action IS DISTINCT FROM CASE status WHEN 'canceled' THEN 'NONE' ELSE 'REPAIR' END)
ORDER BY id
