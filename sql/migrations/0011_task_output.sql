-- What running tasks say, for whoever watches (issue 6). Not evidence: a task's result carries all it said.
-- Unlogged: after a crash of Postgres it is empty, and nobody misses it. Rows are dropped a minute later.
CREATE UNLOGGED TABLE app.task_output (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL,
    task_key text NOT NULL,
    position int NOT NULL,
    kind text NOT NULL CHECK (kind IN ('stdout', 'stderr')),
    chunk text NOT NULL,
    said_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX task_output_of_run ON app.task_output (run_id, id);
