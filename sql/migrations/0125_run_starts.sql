-- When an intent was started, for the limit of intents that start per period, and the order in which they start.
ALTER TABLE app.runs ADD COLUMN started_at timestamptz;
COMMENT ON COLUMN app.runs.started_at IS
    'when the intent''s first Dagster run was requested; null before, and in runs that an earlier release started';
CREATE INDEX runs_by_start ON app.runs (queue_partition_key, started_at) WHERE started_at IS NOT NULL;
CREATE INDEX runs_to_request ON app.runs (queue_partition_key, (started_at IS NULL), priority, created_at, id)
    WHERE status IN ('queued', 'repairing') AND dagster_run_id IS NULL;
