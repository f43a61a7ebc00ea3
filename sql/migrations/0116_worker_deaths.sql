-- Deaths of workers while they executed a segment. A segment whose workers die again and again is parked.

CREATE TABLE app.worker_deaths (
    segment_workflow_id text NOT NULL CHECK (segment_workflow_id <> ''),
    executor_id text NOT NULL CHECK (executor_id <> ''),
    subject text NOT NULL CHECK (subject <> ''),
    progress bigint NOT NULL CHECK (progress >= 0),
    is_counted boolean NOT NULL,
    died_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (segment_workflow_id, executor_id)
);
COMMENT ON TABLE app.worker_deaths IS 'workers that ended before the segment that they executed';
COMMENT ON COLUMN app.worker_deaths.subject IS 'the intent, or the queue workflow of a job without an intent';
COMMENT ON COLUMN app.worker_deaths.progress IS 'app.run_progress of the intent when the worker ended';
COMMENT ON COLUMN app.worker_deaths.is_counted IS 'false: the worker was stopped by SIGTERM';
CREATE INDEX worker_deaths_of_subject ON app.worker_deaths (subject, progress) WHERE is_counted;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.worker_deaths
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.worker_deaths EXECUTE FUNCTION app.refuse_change();

CREATE FUNCTION app.run_progress(subject text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT (SELECT count(*) FROM app.run_steps s WHERE s.run_id = r.id)
            + (SELECT count(*) FROM app.sbx_runs t WHERE t.run_id = r.id)
            + (SELECT count(*) FROM app.sbx_attempts a WHERE a.run_id = r.id)
            + (SELECT count(*) FROM app.run_changes c WHERE c.run_id = r.id)
        FROM app.runs r WHERE r.workflow_id = subject), 0)
$$;
COMMENT ON FUNCTION app.run_progress IS
    'the number of steps, task results, tries and changes of status that an intent''s run has; grows with each';
