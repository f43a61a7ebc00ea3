-- Live output of running tasks, for watchers. It is not evidence: a task's result has its complete output.
-- Unlogged: it is empty after a crash of Postgres. Rows are deleted after a minute.
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
