-- heartbeats --
-- How many seconds ago each of Dagster's daemons last said that it lives; the body's time is in epoch seconds.
SELECT daemon_type, (extract(epoch FROM clock_timestamp()) - (body::json ->> 'timestamp')::float)::float AS seconds
FROM dagster.daemon_heartbeats ORDER BY daemon_type

-- server --
-- The server's version.
SELECT current_setting('server_version') AS version

-- workflow_status --
-- What DBOS knows about one workflow.
SELECT status FROM dbos.workflow_status WHERE workflow_uuid = %(workflow_id)s

-- dagster_run_status --
-- What Dagster knows about one run.
SELECT status FROM dagster.runs WHERE run_id = %(dagster_run_id)s

-- request_age --
-- How many seconds ago a run's current segment was last requested; null when it never was.
SELECT extract(epoch FROM clock_timestamp() - requested_at)::float AS seconds
FROM app.runs WHERE id = %(run_id)s
