-- A question to a coding agent is a workflow on compileQ in its run's partition and of its run's version or a declared
-- successor of it, and its workflow id is the key of the question. Nothing else is on compileQ.
-- source: hard law "Seams" (docs/operator-guide.md)
-- needs: dbos.workflow_status
WITH asked AS (
    SELECT workflow_uuid, status, queue_name, queue_partition_key, application_version
    FROM dbos.workflow_status
    WHERE queue_name = 'compileQ' OR starts_with(workflow_uuid, 'op_')
)
SELECT a.workflow_uuid, r.id AS run_id,
    format('%s on %s, partition %s, version %s', a.status, coalesce(a.queue_name, 'no queue'),
        coalesce(a.queue_partition_key, 'none'), coalesce(a.application_version, 'none')) AS detail
FROM asked a
LEFT JOIN app.plan_questions q ON q.op_key = a.workflow_uuid
LEFT JOIN app.runs r ON r.id = q.run_id
WHERE a.workflow_uuid !~ '^op_[0-9a-f]{64}$'
   OR (a.queue_name IS DISTINCT FROM 'compileQ'
       AND NOT (a.queue_name IS NULL AND a.status IN ('CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')))
   OR a.queue_partition_key IS DISTINCT FROM coalesce(r.queue_partition_key, a.queue_partition_key)
   OR (a.application_version IS DISTINCT FROM coalesce(r.app_version, a.application_version)
       AND NOT EXISTS (SELECT FROM app.version_successors s
                       WHERE s.version = r.app_version AND s.successor = a.application_version))
ORDER BY a.workflow_uuid
