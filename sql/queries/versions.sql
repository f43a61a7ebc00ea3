-- lock --
-- Let one transaction at a time declare a successor: two at once could make a cycle.
SELECT pg_advisory_xact_lock(hashtextextended('sisu:versions', 0))

-- adoptions --
-- The declared successors, the oldest declaration first.
SELECT old_version, new_version, adopted_by, channel, reason, adopted_at
FROM app.version_adoptions ORDER BY adopted_at, old_version

-- adoption --
-- The declared successor of a version.
SELECT old_version, new_version, adopted_by, channel, reason, adopted_at
FROM app.version_adoptions WHERE old_version = %(old_version)s

-- record --
-- Declare the successor of a version.
INSERT INTO app.version_adoptions (old_version, new_version, adopted_by, channel, reason)
VALUES (%(old_version)s, %(new_version)s, %(adopted_by)s, %(channel)s, %(reason)s)
RETURNING old_version, new_version, adopted_by, channel, reason, adopted_at

-- succeeds --
-- Whether a version succeeds another one, directly or by way of others.
SELECT EXISTS (SELECT FROM app.version_successors WHERE version = %(version)s AND successor = %(successor)s)

-- last_successor --
-- The version whose workers take over the work of another one.
SELECT successor FROM app.version_successors WHERE version = %(version)s AND is_last

-- had_worker --
-- Whether a worker of this version has ever started: each registers its version with DBOS.
SELECT EXISTS (SELECT FROM dbos.application_versions WHERE version_name = %(version)s)

-- has_run --
-- Whether a run of this version exists.
SELECT EXISTS (SELECT FROM app.runs WHERE app_version = %(version)s)

-- unfinished --
-- Unfinished runs by application version.
SELECT app_version, count(*) AS runs FROM app.runs
WHERE status IN ('queued', 'running', 'waiting_input', 'repairing') GROUP BY app_version ORDER BY app_version

-- are_adopted --
-- Whether any version has a successor.
SELECT EXISTS (SELECT FROM app.version_adoptions)

-- hand_over --
-- Give what waits on the queues for a version with a successor to the last successor's workers. DBOS has no call for it.
-- A row that is being claimed at this moment is left to its worker; one that is handed over can no longer be claimed by
-- workers of its old version.
WITH waiting AS (
    SELECT w.workflow_uuid, s.successor
    FROM app.version_successors s
    JOIN dbos.workflow_status w ON w.application_version = s.version
    WHERE s.is_last AND w.status IN ('ENQUEUED', 'DELAYED') AND w.queue_name IN ('intentQ', 'sbxQ', 'compileQ')
    FOR UPDATE OF w SKIP LOCKED
)
UPDATE dbos.workflow_status w SET application_version = waiting.successor
FROM waiting
WHERE w.workflow_uuid = waiting.workflow_uuid AND w.status IN ('ENQUEUED', 'DELAYED')
