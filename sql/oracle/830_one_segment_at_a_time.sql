-- At most one segment of an intent is executing. The next one may wait for the lock of the previous one for up to
-- half a minute.
-- source: docs/architecture.md, Segments and recovery
-- needs: dbos.workflow_status
WITH executing AS (
    SELECT workflow_uuid, split_part(workflow_uuid, '/', 1) AS workflow_id,
        to_timestamp(coalesce(started_at_epoch_ms, updated_at) / 1000.0) AS started_at
    FROM dbos.workflow_status
    WHERE status = 'PENDING' AND starts_with(workflow_uuid, 'ih_')
), beside AS (
    SELECT workflow_id, count(*) AS segments, max(started_at) AS latest_at,
        string_agg(workflow_uuid, ', ' ORDER BY workflow_uuid) AS workflow_uuids
    FROM executing
    GROUP BY workflow_id
    HAVING count(*) > 1
)
SELECT b.workflow_id, r.id AS run_id, b.segments || ' at once since ' || b.latest_at || ': ' || b.workflow_uuids AS detail
FROM beside b
LEFT JOIN app.runs r ON r.workflow_id = b.workflow_id
WHERE b.latest_at < now() - interval '30 seconds'
ORDER BY b.workflow_id
