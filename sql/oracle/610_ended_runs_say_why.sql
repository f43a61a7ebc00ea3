-- A run that ended badly says why and what a person can do: REPAIR after a failure, nothing after a cancellation.
-- source: reference §C0 (on error)
SELECT id AS run_id,
    status || ', error: ' || coalesce(error, 'none') || ', next action: ' || coalesce(next_action, 'none') AS detail
FROM app.runs
WHERE status IN ('failed', 'retries_exceeded', 'canceled')
  AND (coalesce(error, '') = ''
       OR next_action IS DISTINCT FROM CASE status WHEN 'canceled' THEN 'NONE' ELSE 'REPAIR' END)
ORDER BY id
