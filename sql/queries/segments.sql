-- lock --
-- One segment of an intent at a time, on any machine. Session-level: freed when its process dies.
SELECT pg_advisory_lock(hashtextextended('sisu:segment:' || %(workflow_id)s, 0))

-- holder --
-- Which backend holds an intent's lock, if any.
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND granted
  AND ((classid::bigint << 32) | objid::bigint) = hashtextextended('sisu:segment:' || %(workflow_id)s, 0)

-- lost --
-- Runs that a Dagster run owns and that should be at work, whose segment no queue holds: nobody was asked for it,
-- or it was executed (`is_executed`) and the run did not end.
SELECT r.workflow_id, r.segment, w.workflow_uuid IS NOT NULL AS is_executed
FROM app.runs r
LEFT JOIN dbos.workflow_status w
    ON w.workflow_uuid = r.workflow_id || CASE WHEN r.segment = 1 THEN '' ELSE '/' || r.segment END
JOIN dagster.runs d ON d.run_id = r.dagster_run_id AND d.status IN ('NOT_STARTED', 'QUEUED', 'STARTING', 'STARTED')
WHERE r.status IN ('queued', 'running', 'repairing') AND r.updated_at < clock_timestamp() - interval '5 seconds'
  AND (w.workflow_uuid IS NULL OR (w.status NOT IN ('ENQUEUED', 'PENDING', 'DELAYED')
       AND w.updated_at < (extract(epoch FROM clock_timestamp()) - 5) * 1000))
ORDER BY r.updated_at LIMIT 100

-- unclaimed --
-- Runs that were asked for and that no Dagster run owns, though one was launched for them: its launcher died.
SELECT r.workflow_id, r.segment, d.run_id AS dagster_run_id
FROM app.runs r
JOIN dagster.run_tags t ON t.key = 'dagster/partition' AND t.value = r.workflow_id
JOIN dagster.runs d ON d.run_id = t.run_id AND d.status = 'STARTING'
WHERE r.status IN ('queued', 'repairing') AND r.dagster_run_id IS NULL
  AND r.requested_at < clock_timestamp() - interval '5 seconds'
  AND d.update_timestamp < (clock_timestamp() AT TIME ZONE 'UTC') - interval '5 seconds'
ORDER BY r.created_at LIMIT 100

-- open_dagster_runs --
-- Dagster runs of intents that have ended, canceled perhaps before Dagster was asked, that no queue holds: their launcher
-- died, or the segment that ended the intent broke off before it had told Dagster. A canceled run that has started is
-- `closing_sensor`'s to end. (`job/` and the run's id is the workflow of a run that works on no intent.)
SELECT r.workflow_id, r.app_version, d.run_id AS dagster_run_id
FROM dagster.runs d
JOIN dagster.run_tags t ON t.run_id = d.run_id AND t.key = 'dagster/partition'
JOIN app.runs r ON r.workflow_id = t.value
WHERE ((d.status = 'STARTING' AND r.status IN ('succeeded', 'failed', 'canceled', 'retries_exceeded'))
       OR (d.status = 'STARTED' AND r.status IN ('succeeded', 'failed', 'retries_exceeded')
           AND r.updated_at < clock_timestamp() - interval '5 seconds'))
  AND d.update_timestamp < (clock_timestamp() AT TIME ZONE 'UTC') - interval '5 seconds'
  AND NOT EXISTS (SELECT FROM dbos.workflow_status w WHERE w.workflow_uuid = 'job/' || d.run_id)
  AND NOT EXISTS (SELECT FROM dbos.workflow_status w
                  WHERE w.queue_name = 'intentQ' AND w.status IN ('ENQUEUED', 'PENDING', 'DELAYED')
                    AND split_part(w.workflow_uuid, '/', 1) = r.workflow_id)
ORDER BY d.id LIMIT 100

-- orphaned --
-- Runs at work whose Dagster run (their owner, or the one that was requested for them) has failed: nobody goes on with
-- them. A run's own failure is in its row before Dagster hears of it.
SELECT r.id, r.workflow_id, d.run_id AS dagster_run_id
FROM app.runs r
JOIN dagster.run_tags t ON t.key = 'dagster/run_key' AND t.value = r.workflow_id || '#' || r.retry_count
JOIN dagster.runs d ON d.run_id = t.run_id AND d.status = 'FAILURE'
WHERE r.status IN ('queued', 'running', 'waiting_input', 'repairing')
  AND (r.dagster_run_id IS NULL OR r.dagster_run_id = d.run_id)
  AND d.update_timestamp < (clock_timestamp() AT TIME ZONE 'UTC') - interval '5 seconds'
ORDER BY r.created_at LIMIT 100

-- try_lock --
-- The same lock, when nobody holds it; for what must not happen beside a segment.
SELECT pg_try_advisory_lock(hashtextextended('sisu:segment:' || %(workflow_id)s, 0)) AS held

-- executing --
-- The segments of an intent that a worker has taken and not finished.
SELECT workflow_uuid FROM dbos.workflow_status
WHERE status = 'PENDING' AND (workflow_uuid = %(workflow_id)s OR workflow_uuid LIKE %(workflow_id)s || '/%%')

-- waiting_work --
-- What waits on the queues for this intent: segments by their id, tasks by the deduplicating parent they name.
SELECT workflow_uuid FROM dbos.workflow_status
WHERE status IN ('ENQUEUED', 'DELAYED') AND (
    workflow_uuid = %(workflow_id)s OR workflow_uuid LIKE %(workflow_id)s || '/%%'
    OR (queue_name = 'sbxQ' AND parent_workflow_id = %(workflow_id)s))
ORDER BY workflow_uuid
