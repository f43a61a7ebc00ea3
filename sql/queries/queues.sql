-- by_state --
-- Queued and executing workflows by queue. Times are milliseconds since 1970, as DBOS stores them.
SELECT queue_name, status, count(*) AS workflow_count,
       min(created_at) AS oldest_created_at, max(created_at) AS newest_created_at
FROM dbos.workflow_status
WHERE queue_name IS NOT NULL AND status IN ('ENQUEUED', 'PENDING', 'DELAYED')
GROUP BY queue_name, status ORDER BY queue_name, status

-- by_version --
-- Queued and executing workflows by application version. A worker executes only its own version.
SELECT coalesce(application_version, '') AS app_version, queue_name,
       count(*) FILTER (WHERE status <> 'PENDING') AS enqueued, count(*) FILTER (WHERE status = 'PENDING') AS pending
FROM dbos.workflow_status
WHERE queue_name IS NOT NULL AND status IN ('ENQUEUED', 'PENDING', 'DELAYED')
GROUP BY 1, 2 ORDER BY 1, 2
