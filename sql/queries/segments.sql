-- lock --
-- Lock an intent for one segment, on all machines. The lock is released when its session ends.
SELECT pg_advisory_lock(hashtextextended('sisu:segment:' || %(workflow_id)s, 0))

-- holder --
-- The backend that holds an intent's lock, if any.
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND granted
  AND ((classid::bigint << 32) | objid::bigint) = hashtextextended('sisu:segment:' || %(workflow_id)s, 0)

-- lost --
-- Active runs with an owner whose segment is on no queue: it was never enqueued, or it was executed (`is_executed`) and
-- the run did not end.
SELECT r.workflow_id, r.segment, w.workflow_uuid IS NOT NULL AS is_executed
FROM app.runs r
LEFT JOIN dbos.workflow_status w
    ON w.workflow_uuid = r.workflow_id || CASE WHEN r.segment = 1 THEN '' ELSE '/' || r.segment END
JOIN dagster.runs d ON d.run_id = r.dagster_run_id AND d.status IN ('NOT_STARTED', 'QUEUED', 'STARTING', 'STARTED')
WHERE r.status IN ('queued', 'running', 'repairing') AND r.updated_at < clock_timestamp() - interval '5 seconds'
  AND (w.workflow_uuid IS NULL OR w.status NOT IN ('ENQUEUED', 'PENDING', 'DELAYED'))
ORDER BY r.updated_at LIMIT 100

-- unclaimed --
-- Requested runs without an owner for which a Dagster run exists: its launcher died. A Dagster run of another job, such
-- as one that materializes single assets, never owns an intent.
SELECT r.workflow_id, r.segment, d.run_id AS dagster_run_id
FROM app.runs r
JOIN dagster.run_tags t ON t.key = 'dagster/partition' AND t.value = r.workflow_id
JOIN dagster.runs d ON d.run_id = t.run_id AND d.status = 'STARTING' AND d.pipeline_name = 'intent_workflow'
WHERE r.status IN ('queued', 'repairing') AND r.dagster_run_id IS NULL
  AND r.requested_at < clock_timestamp() - interval '5 seconds'
ORDER BY r.created_at LIMIT 100

-- open_dagster_runs --
-- Dagster runs of ended intents that are on no queue: the daemon or the launcher died, or the segment that ended the
-- intent was interrupted before it reported the end to Dagster. `closing_sensor` ends canceled runs that have started. The
-- workflow of a run without an intent is `job/` and the run's id.
SELECT r.workflow_id, r.app_version, d.run_id AS dagster_run_id
FROM dagster.runs d
JOIN dagster.run_tags t ON t.run_id = d.run_id AND t.key = 'dagster/partition'
JOIN app.runs r ON r.workflow_id = t.value
WHERE ((d.status IN ('NOT_STARTED', 'STARTING') AND r.status IN ('succeeded', 'failed', 'canceled', 'retries_exceeded'))
       OR (d.status = 'STARTED' AND r.status IN ('succeeded', 'failed', 'retries_exceeded')
           AND r.updated_at < clock_timestamp() - interval '5 seconds'))
  AND NOT starts_with(coalesce(r.error, ''), 'parked: ')
  AND NOT EXISTS (SELECT FROM dbos.workflow_status w WHERE w.workflow_uuid = 'job/' || d.run_id)
  AND NOT EXISTS (SELECT FROM dbos.workflow_status w
                  WHERE w.queue_name = 'intentQ' AND w.status IN ('ENQUEUED', 'PENDING', 'DELAYED')
                    AND split_part(w.workflow_uuid, '/', 1) = r.workflow_id)
ORDER BY d.id LIMIT 100

-- orphaned --
-- Active runs whose Dagster run (their owner, or the one requested for them) has failed, so that no worker continues
-- them. A run's own failure is in its row before it is reported to Dagster.
SELECT r.id, r.workflow_id, d.run_id AS dagster_run_id
FROM app.runs r
JOIN dagster.runs d ON d.status = 'FAILURE'
    AND d.run_id = coalesce(r.dagster_run_id, (
        SELECT max(t.run_id) FROM dagster.run_tags t
        WHERE t.key = 'dagster/run_key' AND t.value = r.workflow_id || '#' || r.retry_count))
WHERE r.status IN ('queued', 'running', 'waiting_input', 'repairing')
ORDER BY r.created_at LIMIT 100

-- removed --
-- Active runs whose Dagster run an operator has deleted, or has ended as canceled without asking the run launcher. The
-- second part finds those canceled before they were launched: Dagster creates no other run for their key. (One deleted
-- before it was launched is requested again.)
SELECT workflow_id, dagster_run_id, is_deleted FROM (
    SELECT r.workflow_id, r.dagster_run_id, d.run_id IS NULL AS is_deleted, r.created_at
    FROM app.runs r LEFT JOIN dagster.runs d ON d.run_id = r.dagster_run_id
    WHERE r.status IN ('queued', 'running', 'waiting_input', 'repairing') AND r.dagster_run_id IS NOT NULL
      AND (d.run_id IS NULL OR d.status = 'CANCELED')
    UNION ALL
    SELECT r.workflow_id, min(d.run_id) AS dagster_run_id, false AS is_deleted, r.created_at
    FROM app.runs r
    JOIN dagster.run_tags t ON t.key = 'dagster/run_key' AND t.value = r.workflow_id || '#' || r.retry_count
    JOIN dagster.runs d ON d.run_id = t.run_id
    WHERE r.status IN ('queued', 'repairing') AND r.dagster_run_id IS NULL AND r.requested_at IS NOT NULL
    GROUP BY r.id
    HAVING bool_and(d.status = 'CANCELED')
) AS found
ORDER BY created_at LIMIT 100

-- parked_dagster_runs --
-- Open Dagster runs whose intent is parked, and of jobs without an intent whose queue workflow was taken off its queue
-- for the same reason: nothing will execute them.
SELECT d.run_id AS dagster_run_id, r.error AS reason
FROM app.runs r JOIN dagster.runs d ON d.run_id = r.dagster_run_id
WHERE r.status = 'retries_exceeded' AND starts_with(r.error, 'parked: ')
  AND d.status IN ('NOT_STARTED', 'QUEUED', 'STARTING', 'STARTED', 'SUSPENDED')
UNION ALL
SELECT d.run_id, 'parked: its workers ended again and again; their logs have the cause'
FROM dbos.workflow_status w JOIN dagster.runs d ON w.workflow_uuid = 'job/' || d.run_id
WHERE w.status = 'CANCELLED' AND d.status IN ('NOT_STARTED', 'QUEUED', 'STARTING', 'STARTED')

-- try_lock --
-- Take the same lock if it is free, for work that must not run concurrently with a segment.
SELECT pg_try_advisory_lock(hashtextextended('sisu:segment:' || %(workflow_id)s, 0)) AS held

-- executing --
-- The segments of an intent that a worker is executing.
SELECT workflow_uuid FROM dbos.workflow_status
WHERE status = 'PENDING' AND (workflow_uuid = %(workflow_id)s OR workflow_uuid LIKE %(workflow_id)s || '/%%')

-- waiting_work --
-- The queued workflows of this intent: segments by their id, tasks by their parent workflow, questions by their key.
SELECT workflow_uuid FROM dbos.workflow_status
WHERE status IN ('ENQUEUED', 'DELAYED') AND (
    workflow_uuid = %(workflow_id)s OR workflow_uuid LIKE %(workflow_id)s || '/%%'
    OR (queue_name = 'sbxQ' AND parent_workflow_id = %(workflow_id)s)
    OR workflow_uuid IN (SELECT q.op_key FROM app.plan_questions q JOIN app.runs r ON r.id = q.run_id
                         WHERE r.workflow_id = %(workflow_id)s))
ORDER BY workflow_uuid
