-- Half a minute after a run ended, none of its segments, tasks and questions is queued or executing.
-- source: docs/architecture.md, Segments and recovery
-- needs: dbos.workflow_status
WITH unfinished AS (
    SELECT workflow_uuid, split_part(workflow_uuid, '/', 1) AS id, status, queue_name
    FROM dbos.workflow_status
    WHERE status IN ('ENQUEUED', 'DELAYED', 'PENDING')
), owned AS (
    SELECT u.workflow_uuid, u.status, u.queue_name, r.id AS run_id
    FROM unfinished u
    JOIN app.runs r ON r.workflow_id = u.id
    UNION ALL
    SELECT u.workflow_uuid, u.status, u.queue_name, s.run_id
    FROM unfinished u
    JOIN app.sbx_runs s ON s.task_key = u.id AND s.step_id = 'ExecuteST'
    UNION ALL
    SELECT u.workflow_uuid, u.status, u.queue_name, q.run_id
    FROM unfinished u
    JOIN app.plan_questions q ON q.op_key = u.id
    UNION ALL
    SELECT u.workflow_uuid, u.status, u.queue_name, m.run_id
    FROM unfinished u
    JOIN app.mock_receipts m ON m.receipt_key = u.id
    WHERE NOT EXISTS (SELECT FROM app.sbx_runs s WHERE s.task_key = u.id)
)
SELECT o.workflow_uuid, o.run_id, format('%s on %s, and the run is %s since %s', o.status, o.queue_name, r.status,
    r.updated_at) AS detail
FROM owned o
JOIN app.runs r ON r.id = o.run_id
WHERE r.status IN ('succeeded', 'failed', 'canceled', 'retries_exceeded')
  AND r.updated_at < now() - interval '30 seconds'
ORDER BY o.workflow_uuid
