-- lock --
-- One segment of an intent at a time, on any machine. Session-level: freed when its process dies.
SELECT pg_advisory_lock(hashtextextended('sisu:segment:' || %(workflow_id)s, 0))

-- holder --
-- Which backend holds an intent's lock, if any.
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND granted
  AND ((classid::bigint << 32) | objid::bigint) = hashtextextended('sisu:segment:' || %(workflow_id)s, 0)

-- announce_worker --
-- A worker is alive as long as its session holds this lock; false when somebody else holds it.
SELECT pg_try_advisory_lock(hashtextextended('sisu:worker:' || %(executor_id)s, 0)) AS held

-- release_worker --
-- Give a worker's lock back after looking whether it was free.
SELECT pg_advisory_unlock(hashtextextended('sisu:worker:' || %(executor_id)s, 0))

-- busy_executors --
-- Workers that hold queue workflows of ours, with how many.
SELECT executor_id, count(*) AS workflows FROM dbos.workflow_status
WHERE status = 'PENDING' AND queue_name IN ('intentQ', 'sbxQ') AND executor_id IS NOT NULL
GROUP BY executor_id ORDER BY executor_id

-- held_workflows --
-- The queue workflows a worker holds.
SELECT workflow_uuid, queue_name FROM dbos.workflow_status
WHERE status = 'PENDING' AND queue_name IN ('intentQ', 'sbxQ') AND executor_id = %(executor_id)s
ORDER BY created_at, workflow_uuid

-- try_lock --
-- The same lock, when nobody holds it; for what must not happen beside a segment.
SELECT pg_try_advisory_lock(hashtextextended('sisu:segment:' || %(workflow_id)s, 0)) AS held

-- waiting_work --
-- What waits on the queues for this intent: segments by their id, tasks by the deduplicating parent they name.
SELECT workflow_uuid FROM dbos.workflow_status
WHERE status IN ('ENQUEUED', 'DELAYED') AND (
    workflow_uuid = %(workflow_id)s OR workflow_uuid LIKE %(workflow_id)s || '/%%'
    OR (queue_name = 'sbxQ' AND parent_workflow_id = %(workflow_id)s))
ORDER BY workflow_uuid
