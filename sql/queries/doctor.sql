-- heartbeats --
-- The age in seconds of the last heartbeat of each Dagster daemon. The time in the body is in epoch seconds.
SELECT daemon_type, (extract(epoch FROM clock_timestamp()) - (body::json ->> 'timestamp')::float)::float AS seconds
FROM dagster.daemon_heartbeats ORDER BY daemon_type

-- server --
-- The server's version.
SELECT current_setting('server_version') AS version

-- workflow_status --
-- The status of one DBOS workflow.
SELECT status FROM dbos.workflow_status WHERE workflow_uuid = %(workflow_id)s

-- dagster_run_status --
-- The status of one Dagster run.
SELECT status FROM dagster.runs WHERE run_id = %(dagster_run_id)s

-- request_age --
-- How many seconds ago a run's current segment was last requested; null when it never was.
SELECT extract(epoch FROM clock_timestamp() - requested_at)::float AS seconds
FROM app.runs WHERE id = %(run_id)s
