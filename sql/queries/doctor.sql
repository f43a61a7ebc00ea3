-- heartbeats --
-- The age in seconds of the last heartbeat of each Dagster daemon. The time in the body is in epoch seconds.
SELECT daemon_type, (extract(epoch FROM clock_timestamp()) - (body::json ->> 'timestamp')::float)::float AS seconds
FROM dagster.daemon_heartbeats ORDER BY daemon_type

-- stopped_sensors --
-- The sensors that an operator has stopped. A sensor without a row, or with another status, runs.
SELECT DISTINCT instigator_body::json #>> '{origin,job_name}' AS name FROM dagster.instigators
WHERE instigator_type = 'SENSOR' AND status = 'STOPPED' ORDER BY name

-- daemons --
-- The names of the connections of sensor daemons, one per process (`sisu_pipeline/domain/worker_names.py`).
SELECT DISTINCT application_name FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE %(names)s ORDER BY application_name

-- clock --
-- The server's clock, in seconds since 1970.
SELECT extract(epoch FROM clock_timestamp())::float AS seconds

-- server --
-- The server's version.
SELECT current_setting('server_version') AS version

-- limit_statements --
-- Give up statements of this session after ten seconds: a person waits for the answer.
SELECT set_config('statement_timeout', '10s', false)

-- is_writer --
-- Whether the server can be written to; a standby cannot.
SELECT NOT pg_is_in_recovery() AS is_writer

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

-- backend --
-- The process id of the session that executes this statement.
SELECT pg_backend_pid() AS pid

-- search_path --
-- Where unqualified names are looked up.
SELECT current_setting('search_path') AS search_path
