-- The product's own tables. `sisu db migrate` applies each migration once, in a transaction.
-- Every durable row is inserted with ON CONFLICT DO NOTHING and then compared: same content is a replay.

CREATE TABLE app.intents (
    id text PRIMARY KEY CHECK (id ~ '^ih_[0-9a-f]{64}$'),
    goal text NOT NULL,
    payload jsonb NOT NULL,
    intent_hash text NOT NULL GENERATED ALWAYS AS (substr(id, 4)) STORED,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN app.intents.payload IS '{inputs, constraints, connectors?}; with goal, it hashes to the id';

CREATE TABLE app.recipes (
    id text PRIMARY KEY,
    name text NOT NULL,
    version int NOT NULL CHECK (version > 0),
    queue_name text NOT NULL CHECK (queue_name IN ('intentQ', 'sbxQ', 'compileQ', 'controlQ')),
    max_concurrency int NOT NULL CHECK (max_concurrency > 0),
    max_steps int NOT NULL CHECK (max_steps > 0),
    max_sandbox_minutes int NOT NULL CHECK (max_sandbox_minutes > 0),
    hash text NOT NULL CHECK (hash ~ '^[0-9a-f]{64}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (name, version)
);

CREATE TABLE app.sbx_templates (
    recipe_id text NOT NULL REFERENCES app.recipes (id),
    recipe_version int NOT NULL,
    deps_hash text NOT NULL,
    template_key text NOT NULL UNIQUE,
    template_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (recipe_id, recipe_version, deps_hash)
);

-- The state machine of `sisu_pipeline/domain/status.py` as data. A test compares the two.
CREATE TABLE app.run_transitions (
    from_status text NOT NULL,
    to_status text NOT NULL,
    PRIMARY KEY (from_status, to_status)
);
INSERT INTO app.run_transitions (from_status, to_status) VALUES
    ('queued', 'running'), ('queued', 'failed'), ('queued', 'canceled'),
    ('running', 'waiting_input'), ('running', 'succeeded'),
    ('running', 'failed'), ('running', 'canceled'), ('running', 'retries_exceeded'),
    ('waiting_input', 'running'),
    ('waiting_input', 'failed'), ('waiting_input', 'canceled'), ('waiting_input', 'retries_exceeded'),
    ('failed', 'repairing'), ('retries_exceeded', 'repairing'),
    ('repairing', 'running'), ('repairing', 'waiting_input'), ('repairing', 'succeeded'),
    ('repairing', 'failed'), ('repairing', 'canceled'), ('repairing', 'retries_exceeded');

CREATE TABLE app.runs (
    id text PRIMARY KEY CHECK (id ~ '^run_[0-9a-f]{32}$'),
    intent_id text NOT NULL REFERENCES app.intents (id),
    workflow_id text NOT NULL UNIQUE CHECK (workflow_id = intent_id),
    status text NOT NULL DEFAULT 'queued' CHECK (status IN (
        'queued', 'running', 'waiting_input', 'repairing',
        'succeeded', 'failed', 'canceled', 'retries_exceeded')),
    recipe_id text NOT NULL REFERENCES app.recipes (id),
    recipe_version int NOT NULL,
    recipe_hash text NOT NULL,
    queue_name text NOT NULL DEFAULT 'intentQ' CHECK (queue_name = 'intentQ'),
    queue_partition_key text NOT NULL CHECK (queue_partition_key <> ''),
    priority int NOT NULL DEFAULT 1 CHECK (priority >= 0),
    lane text NOT NULL DEFAULT 'interactive' CHECK (lane IN ('interactive', 'batch')),
    tenant_id text,
    trace_id text,
    budget jsonb,
    timeout_ms bigint,
    app_version text NOT NULL DEFAULT 'v1',
    segment int NOT NULL DEFAULT 1 CHECK (segment > 0),
    dagster_run_id text,
    requested_at timestamptz,
    last_step text,
    error text,
    next_action text CHECK (next_action IN ('APPROVE_PLAN', 'REPAIR', 'NONE')),
    retry_count int NOT NULL DEFAULT 0 CHECK (retry_count >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN app.runs.segment IS 'number of the current or next segment';
COMMENT ON COLUMN app.runs.requested_at IS 'when the current segment was last enqueued; null before the first time';
COMMENT ON COLUMN app.runs.dagster_run_id IS 'the one Dagster run that owns this intent';
CREATE INDEX runs_unfinished ON app.runs (status, created_at)
    WHERE status IN ('queued', 'running', 'waiting_input', 'repairing');
CREATE INDEX runs_by_status ON app.runs (status);
CREATE INDEX runs_by_age ON app.runs (created_at DESC, id);

CREATE FUNCTION app.guard_run_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> OLD.status AND NOT EXISTS (
        SELECT 1 FROM app.run_transitions WHERE from_status = OLD.status AND to_status = NEW.status
    ) THEN
        RAISE EXCEPTION 'run % is %; it cannot become %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.status = 'repairing' AND OLD.status <> 'repairing' AND NEW.retry_count <= OLD.retry_count THEN
        RAISE EXCEPTION 'run % reopens only with a higher retry_count', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER guard_run_status BEFORE UPDATE ON app.runs
    FOR EACH ROW EXECUTE FUNCTION app.guard_run_status();

-- Listeners: the intent sensor on sisu_queued, watchers of a run on sisu_runs.
CREATE FUNCTION app.announce_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status IN ('queued', 'repairing') THEN
        PERFORM pg_notify('sisu_queued', NEW.workflow_id);
    END IF;
    PERFORM pg_notify('sisu_runs', NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER announce_run_insert AFTER INSERT ON app.runs
    FOR EACH ROW EXECUTE FUNCTION app.announce_run();
CREATE TRIGGER announce_run_update AFTER UPDATE OF status, last_step ON app.runs
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.last_step IS DISTINCT FROM NEW.last_step)
    EXECUTE FUNCTION app.announce_run();

CREATE TABLE app.run_steps (
    run_id text NOT NULL REFERENCES app.runs (id),
    step_id text NOT NULL CHECK (step_id IN ('CompileST', 'ApplyPatchST', 'DecideST', 'ExecuteST')),
    attempt int NOT NULL DEFAULT 1 CHECK (attempt > 0),
    phase text NOT NULL CHECK (phase IN ('compilation', 'patching', 'planning', 'execution')),
    output jsonb NOT NULL,
    trace_id text,
    span_id text,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, step_id, attempt)
);

CREATE TABLE app.artifacts (
    run_id text NOT NULL REFERENCES app.runs (id),
    step_id text NOT NULL,
    task_key text NOT NULL DEFAULT '',
    idx int NOT NULL CHECK (idx >= 0),
    attempt int NOT NULL DEFAULT 1 CHECK (attempt > 0),
    kind text NOT NULL,
    uri text NOT NULL,
    inline jsonb,
    size_bytes bigint NOT NULL DEFAULT 0,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, step_id, task_key, idx)
);
COMMENT ON COLUMN app.artifacts.inline IS 'the content, or {"blob": sha256} of its canonical JSON in the blob store';
CREATE INDEX artifacts_uri ON app.artifacts (uri);

CREATE TABLE app.sbx_runs (
    run_id text NOT NULL REFERENCES app.runs (id),
    step_id text NOT NULL,
    task_key text NOT NULL,
    attempt int NOT NULL CHECK (attempt > 0),
    position int NOT NULL CHECK (position >= 0),
    provider text NOT NULL,
    request jsonb NOT NULL,
    response jsonb NOT NULL,
    err_code text NOT NULL CHECK (err_code IN (
        'NONE', 'BOOT_FAIL', 'CMD_NONZERO', 'TIMEOUT', 'OOM', 'NET_FAIL', 'UPLOAD_FAIL', 'DOWNLOAD_FAIL')),
    metrics jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, step_id, task_key)
);
CREATE INDEX sbx_runs_task_key ON app.sbx_runs (task_key);
COMMENT ON COLUMN app.sbx_runs.position IS 'the task''s place in the fan-out; results merge in this order';

CREATE TABLE app.sbx_attempts (
    run_id text NOT NULL REFERENCES app.runs (id),
    step_id text NOT NULL,
    task_key text NOT NULL,
    attempt int NOT NULL CHECK (attempt > 0),
    err_code text NOT NULL,
    detail text NOT NULL DEFAULT '',
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, step_id, task_key, attempt)
);

CREATE TABLE app.human_gates (
    run_id text NOT NULL REFERENCES app.runs (id),
    gate_key text NOT NULL CHECK (gate_key ~ '^[a-z0-9][a-z0-9:_-]{0,127}$'),
    step_id text NOT NULL,
    purpose text NOT NULL,
    topic text NOT NULL,
    plan_sha256 text NOT NULL CHECK (plan_sha256 ~ '^[0-9a-f]{64}$'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, gate_key),
    CHECK (topic = 'human:' || gate_key)
);

CREATE TABLE app.plan_approvals (
    run_id text PRIMARY KEY REFERENCES app.runs (id),
    decision text NOT NULL CHECK (decision IN ('approved', 'rejected')),
    decided_by text NOT NULL CHECK (decided_by <> ''),
    decided_at timestamptz NOT NULL DEFAULT now(),
    notes text,
    reported_at timestamptz,
    plan_sha256 text CHECK (plan_sha256 ~ '^[0-9a-f]{64}$')
);

COMMENT ON COLUMN app.plan_approvals.reported_at IS 'when the decision was reported to Dagster (asset plan_approval)';

CREATE INDEX plan_approvals_unreported ON app.plan_approvals (decided_at) WHERE reported_at IS NULL;

CREATE FUNCTION app.announce_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sisu_decided', NEW.run_id);
    PERFORM pg_notify('sisu_runs', NEW.run_id);
    RETURN NULL;
END $$;
CREATE TRIGGER announce_decision AFTER INSERT ON app.plan_approvals
    FOR EACH ROW EXECUTE FUNCTION app.announce_decision();

CREATE TABLE app.patch_history (
    run_id text NOT NULL REFERENCES app.runs (id),
    step_id text NOT NULL,
    patch_index int NOT NULL CHECK (patch_index >= 0),
    target_path text NOT NULL,
    preimage_hash text,
    preimage_content bytea,
    preimage_mode int,
    postimage_hash text NOT NULL,
    postimage_content bytea NOT NULL,
    diff_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_at timestamptz,
    rolled_back_at timestamptz,
    PRIMARY KEY (run_id, step_id, patch_index),
    CHECK ((preimage_hash IS NULL) = (preimage_content IS NULL))
);
COMMENT ON COLUMN app.patch_history.preimage_hash IS 'null when the file did not exist: rollback removes it';

CREATE TABLE app.mock_receipts (
    receipt_key text PRIMARY KEY,
    run_id text NOT NULL REFERENCES app.runs (id),
    step_id text NOT NULL,
    payload_hash text NOT NULL,
    idempotency_key text,
    first_attempt int NOT NULL CHECK (first_attempt > 0),
    last_attempt int NOT NULL CHECK (last_attempt > 0),
    seen_count int NOT NULL DEFAULT 1 CHECK (seen_count > 0),
    request_count int NOT NULL DEFAULT 1,
    duration_ms int NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN app.mock_receipts.seen_count IS 'how often the mock provider executed this task: always 1 while the oracle holds';

-- The seeded recipes. The hash is the sha256 of the canonical JSON of the row's limits; a test recomputes it.
INSERT INTO app.recipes (id, name, version, queue_name, max_concurrency, max_steps, max_sandbox_minutes, hash) VALUES
    ('rcp_compile_default_v1', 'compile-default', 1, 'intentQ', 10, 32, 15, 'a09b98da273505cc59ec0b694be650a3e0b8959b176457acc4b067f63686cca2'),
    ('rcp_sandbox_default_v1', 'sandbox-default', 1, 'intentQ', 20, 128, 60, '9abca031bdca474c71c9d03622b7c8ca7e99916f8e7cbf8dfa598e77c5fe4c8b'),
    ('rcp_control_default_v1', 'control-default', 1, 'intentQ', 5, 16, 10, '167cba2edc91e0ecb04c12995deb1f7a1a8b4084f53189f6b009280a389059e9');
