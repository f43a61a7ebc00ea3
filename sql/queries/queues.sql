-- by_state --
-- What waits or runs on each queue. Times are DBOS's own: milliseconds since 1970.
SELECT queue_name, status, count(*) AS workflow_count,
       min(created_at) AS oldest_created_at, max(created_at) AS newest_created_at
FROM dbos.workflow_status
WHERE queue_name IS NOT NULL AND status IN ('ENQUEUED', 'PENDING', 'DELAYED')
GROUP BY queue_name, status ORDER BY queue_name, status

-- by_version --
-- Which application versions that work is stamped with: a worker takes only its own version's.
SELECT coalesce(application_version, '') AS app_version, queue_name,
       count(*) FILTER (WHERE status <> 'PENDING') AS enqueued, count(*) FILTER (WHERE status = 'PENDING') AS pending
FROM dbos.workflow_status
WHERE queue_name IS NOT NULL AND status IN ('ENQUEUED', 'PENDING', 'DELAYED')
GROUP BY 1, 2 ORDER BY 1, 2
