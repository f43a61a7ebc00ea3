-- A queued run has no steps, and a queued or running run has no error and no next action.
-- source: docs/architecture.md, Life of an intent
SELECT r.id AS run_id,
    format('%s, segment %s, retries %s, error: %s, next action: %s, steps: %s', r.status, r.segment, r.retry_count,
        coalesce(r.error, 'none'), coalesce(r.next_action, 'none'),
        (SELECT count(*) FROM app.run_steps s WHERE s.run_id = r.id)) AS detail
FROM app.runs r
WHERE (r.status IN ('queued', 'running') AND (r.error IS NOT NULL OR r.next_action IS NOT NULL))
   OR (r.status = 'queued' AND (
        r.segment <> 1 OR r.retry_count <> 0
        OR EXISTS (SELECT FROM app.run_steps s WHERE s.run_id = r.id)
        OR EXISTS (SELECT FROM app.patch_history p WHERE p.run_id = r.id)))
ORDER BY r.id
