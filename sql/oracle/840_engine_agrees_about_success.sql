-- The last segment of a succeeded run has status SUCCESS, or is about to have it.
-- source: docs/architecture.md, Segments and recovery
-- needs: dbos.workflow_status
WITH last_segment AS (
    SELECT DISTINCT ON (split_part(workflow_uuid, '/', 1))
        split_part(workflow_uuid, '/', 1) AS workflow_id, workflow_uuid, status
    FROM dbos.workflow_status
    WHERE starts_with(workflow_uuid, 'ih_')
    ORDER BY split_part(workflow_uuid, '/', 1),
        coalesce(substring(workflow_uuid FROM '/([0-9]{1,9})$')::int, 1) DESC
)
SELECT l.workflow_uuid, r.id AS run_id, 'the run succeeded, its last segment ended ' || l.status AS detail
FROM last_segment l
JOIN app.runs r ON r.workflow_id = l.workflow_id
WHERE r.status = 'succeeded' AND l.status NOT IN ('SUCCESS', 'PENDING', 'ENQUEUED')
ORDER BY l.workflow_uuid
