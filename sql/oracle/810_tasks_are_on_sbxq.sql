-- A task is a workflow on sbxQ in its run's partition, and its workflow id is the task key.
-- source: hard law "Seams" (docs/operator-guide.md)
-- needs: dbos.workflow_status
WITH children AS (
    SELECT workflow_uuid, split_part(workflow_uuid, '/', 1) AS task_key, status, queue_name, queue_partition_key
    FROM dbos.workflow_status
    WHERE queue_name = 'sbxQ' OR workflow_uuid ~ '^[0-9a-f]{64}(/|$)'
)
SELECT c.workflow_uuid, r.id AS run_id,
    format('%s on %s, partition %s; the run''s is %s', c.status, coalesce(c.queue_name, 'no queue'),
        coalesce(c.queue_partition_key, 'none'), coalesce(r.queue_partition_key, 'unknown yet')) AS detail
FROM children c
LEFT JOIN app.sbx_runs s ON s.task_key = c.task_key AND s.step_id = 'ExecuteST'
LEFT JOIN app.runs r ON r.id = s.run_id
WHERE c.workflow_uuid !~ '^[0-9a-f]{64}(/[0-9]+)?$'
   OR (c.queue_name IS DISTINCT FROM 'sbxQ'
       AND NOT (c.queue_name IS NULL AND c.status IN ('CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')))
   OR c.queue_partition_key IS DISTINCT FROM coalesce(r.queue_partition_key, c.queue_partition_key)
   OR c.queue_partition_key IS NULL
ORDER BY c.workflow_uuid
