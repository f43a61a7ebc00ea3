-- start --
-- The partition of a run that was never started, if it has used up its starts of the period.
SELECT r.queue_partition_key AS partition FROM app.runs r
WHERE r.id = %(run_id)s AND r.status = 'queued' AND r.started_at IS NULL AND r.dagster_run_id IS NULL AND (
    SELECT count(*) FROM app.runs made WHERE made.queue_partition_key = r.queue_partition_key
      AND made.started_at > clock_timestamp() - make_interval(secs => %(period_s)s::float)) >= %(most)s

-- work --
-- The queues on which work of a run waits: what the run's partition executes there, and has started within the period of
-- the queue's rate limit, beside the limits. Times are the database's.
SELECT q.name AS queue_name, r.queue_partition_key AS partition, (
        SELECT count(*) FROM dbos.workflow_status w
        WHERE w.queue_name = q.name AND w.queue_partition_key = r.queue_partition_key AND w.status = 'PENDING'
    ) AS executing,
    q.partition_concurrency AS most_executing, (
        SELECT count(*) FROM dbos.workflow_status w
        WHERE w.queue_name = q.name AND w.queue_partition_key = r.queue_partition_key AND w.rate_limited
          AND w.started_at_epoch_ms > (extract(epoch FROM now()) - q.partition_rate_limit_period_sec) * 1000
    ) AS started,
    q.partition_rate_limit_max AS most_started, q.partition_rate_limit_period_sec AS period_s
FROM app.runs r
JOIN dbos.queues q ON q.name IN ('intentQ', 'sbxQ')
WHERE r.id = %(run_id)s AND EXISTS (
    SELECT FROM dbos.workflow_status w WHERE w.status = 'ENQUEUED' AND w.queue_name = q.name AND CASE q.name
        WHEN 'intentQ' THEN
            w.workflow_uuid = r.workflow_id || CASE WHEN r.segment = 1 THEN '' ELSE '/' || r.segment END
        ELSE w.parent_workflow_id = r.workflow_id END)
ORDER BY q.name
