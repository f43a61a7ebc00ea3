-- A run's segments are workflows on intentQ in the run's partition, with the intent's id or `id/N` as workflow id.
-- Anything else on intentQ is a Dagster job without an intent. Workflows that DBOS canceled or gave up have no
-- queue, and workflows left by a reset of schema app are ignored.
-- source: hard law "Seams" (docs/operator-guide.md)
-- needs: dbos.workflow_status
WITH parents AS (
    SELECT workflow_uuid, split_part(workflow_uuid, '/', 1) AS workflow_id, status, queue_name, queue_partition_key
    FROM dbos.workflow_status
    WHERE (queue_name = 'intentQ' OR starts_with(workflow_uuid, 'ih_')) AND NOT starts_with(workflow_uuid, 'job/')
)
SELECT p.workflow_uuid, r.id AS run_id,
    format('%s on %s, partition %s; the run''s is %s', p.status, coalesce(p.queue_name, 'no queue'),
        coalesce(p.queue_partition_key, 'none'), coalesce(r.queue_partition_key, 'unknown: there is no such run'))
        AS detail
FROM parents p
LEFT JOIN app.runs r ON r.workflow_id = p.workflow_id
-- DBOS removes canceled workflows, and those it gave up, from their queue.
WHERE p.workflow_uuid !~ '^ih_[0-9a-f]{64}(/([2-9]|[1-9][0-9]+))?$'
   OR (p.queue_name IS DISTINCT FROM 'intentQ'
       AND NOT (p.queue_name IS NULL AND p.status IN ('CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')))
   OR p.queue_partition_key IS DISTINCT FROM coalesce(r.queue_partition_key, p.queue_partition_key)
   OR (r.id IS NULL AND p.status IN ('ENQUEUED', 'DELAYED', 'PENDING'))
ORDER BY p.workflow_uuid
