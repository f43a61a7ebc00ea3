-- Runs with a time limit (`timeoutMS`), by the time at which they were created: the deadline sensor looks every second.
CREATE INDEX runs_with_a_timeout ON app.runs (created_at)
WHERE timeout_ms IS NOT NULL AND status IN ('queued', 'running', 'waiting_input', 'repairing');

-- A deadline is a way in which a run ends.
ALTER TABLE app.run_changes DROP CONSTRAINT run_changes_channel_check;
ALTER TABLE app.run_changes ADD CONSTRAINT run_changes_channel_check
    CHECK (channel IN ('api', 'inbox', 'cli', 'dagster', 'engine', 'deadline', 'migration'));
