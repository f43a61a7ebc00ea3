-- try_lock --
-- Take a worker's lock, unless another session holds it. The worker is alive while its own session holds it.
SELECT pg_try_advisory_lock(hashtextextended('sisu:worker:' || %(executor_id)s, 0)) AS held,
       pid, backend_start AS started
FROM pg_stat_get_activity(pg_backend_pid())

-- keep_active --
-- A statement without effect: the session's last activity shows that its worker is not frozen.
SELECT 1

-- name_session --
-- Name this session, so that recovery can terminate the sessions of a worker.
SELECT set_config('application_name', %(name)s, false)

-- session_responds --
-- A statement without effect: fails when the connection is lost.
SELECT 1

-- session_lives --
-- Whether a session still exists, by its process id and start: the fence of a worker.
SELECT 1 FROM pg_stat_get_activity(%(pid)s) WHERE backend_start = %(started)s

-- terminate_lock_holder --
-- Terminate the session that holds a worker's lock: the worker's own, by its name, or that of a recovery that has been
-- inactive for three seconds. A recovery that is still active keeps its session.
SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.mode = 'ExclusiveLock'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended('sisu:worker:' || %(executor_id)s, 0)
  AND (a.application_name LIKE %(names)s OR a.state_change < clock_timestamp() - interval '3 seconds')

-- terminate_connections --
-- Terminate every session of a worker, by the name they all have; returns those that still existed.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE %(names)s AND pid <> pg_backend_pid()

-- busy --
-- Workers that hold queue workflows: the backend that holds the lock of each, and the time of its last activity.
SELECT w.executor_id, l.pid AS holder, a.state_change AS active_at
FROM (
    SELECT DISTINCT executor_id FROM dbos.workflow_status
    WHERE status = 'PENDING' AND queue_name IN ('intentQ', 'sbxQ', 'compileQ') AND executor_id IS NOT NULL) AS w
LEFT JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.mode = 'ExclusiveLock'
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended('sisu:worker:' || w.executor_id, 0)
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
ORDER BY w.executor_id

-- held_workflows --
-- The queue workflows that a worker holds, the oldest first.
SELECT workflow_uuid AS workflow_id, queue_name FROM dbos.workflow_status
WHERE status = 'PENDING' AND queue_name IN ('intentQ', 'sbxQ', 'compileQ') AND executor_id = %(executor_id)s
ORDER BY created_at, workflow_uuid

-- connected --
-- The names of the workers' connections, one per process (`sisu_pipeline/domain/worker_names.py`).
SELECT DISTINCT application_name FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE %(names)s

-- lock_limits --
-- Let one worker at a time write the limits of a queue, which depend on the workers that are connected.
SELECT pg_advisory_xact_lock(hashtextextended('sisu:limits:' || %(queue)s, 0))
