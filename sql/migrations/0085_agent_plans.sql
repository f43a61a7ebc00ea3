-- Questions to a coding agent, and the ledger of its sessions: what was asked, answered, used and paid.

CREATE TABLE app.plan_questions (
    op_key text PRIMARY KEY CHECK (op_key ~ '^op_[0-9a-f]{64}$'),
    run_id text NOT NULL REFERENCES app.runs (id),
    step_id text NOT NULL CHECK (step_id = 'CompileST'),
    attempt int NOT NULL CHECK (attempt > 0),
    prompt text NOT NULL,
    prompt_sha256 text NOT NULL CHECK (prompt_sha256 ~ '^[0-9a-f]{64}$'),
    schema_sha256 text NOT NULL CHECK (schema_sha256 ~ '^[0-9a-f]{64}$'),
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (run_id, step_id, attempt)
);
COMMENT ON TABLE app.plan_questions IS 'Questions to a coding agent. The key is the id of the workflow on compileQ.';
COMMENT ON COLUMN app.plan_questions.attempt IS 'one more than the retries of the run when it was asked';

CREATE TABLE app.opencode_calls (
    id text PRIMARY KEY CHECK (id ~ '^occall_[0-9a-f]{16}$'),
    op_key text NOT NULL REFERENCES app.plan_questions (op_key),
    run_id text NOT NULL REFERENCES app.runs (id),
    step_id text NOT NULL CHECK (step_id = 'CompileST'),
    attempt int NOT NULL CHECK (attempt > 0),
    try int NOT NULL CHECK (try > 0),
    outcome text NOT NULL CHECK (outcome IN ('answered', 'failed')),
    is_final boolean NOT NULL,
    structured jsonb,
    changes text,
    changes_sha256 text CHECK (changes_sha256 ~ '^[0-9a-f]{64}$'),
    error jsonb,
    agent text NOT NULL,
    agent_name text,
    agent_version text,
    session_id text,
    stop_reasons jsonb NOT NULL,
    response text NOT NULL,
    tool_calls jsonb NOT NULL,
    model text,
    model_calls int NOT NULL CHECK (model_calls >= 0),
    uncounted_calls int NOT NULL CHECK (uncounted_calls >= 0),
    input_tokens bigint NOT NULL CHECK (input_tokens >= 0),
    output_tokens bigint NOT NULL CHECK (output_tokens >= 0),
    cost_usd numeric CHECK (cost_usd >= 0),
    peak_mb int NOT NULL CHECK (peak_mb >= 0),
    durations_ms jsonb NOT NULL,
    transcript_uri text NOT NULL,
    transcript_sha256 text NOT NULL CHECK (transcript_sha256 ~ '^[0-9a-f]{64}$'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (op_key, try),
    CHECK ((outcome = 'answered') = (structured IS NOT NULL AND changes IS NOT NULL AND changes_sha256 IS NOT NULL)),
    CHECK ((outcome = 'failed') = (error IS NOT NULL)),
    CHECK (is_final OR outcome = 'failed')
);
COMMENT ON TABLE app.opencode_calls IS 'Sessions with a coding agent, one row per try; failures are rows of their own.';
COMMENT ON COLUMN app.opencode_calls.is_final IS 'an answer, or the failure after which the question is given up';
COMMENT ON COLUMN app.opencode_calls.changes IS 'canonical JSON of the difference that the agent left in its directory';
COMMENT ON COLUMN app.opencode_calls.agent IS 'the command of the agent';
COMMENT ON COLUMN app.opencode_calls.tool_calls IS 'number of tool calls by kind';
COMMENT ON COLUMN app.opencode_calls.cost_usd IS 'tokens as counted at the proxy, by the prices of the settings';
CREATE UNIQUE INDEX opencode_calls_final ON app.opencode_calls (op_key) WHERE is_final;
CREATE INDEX opencode_calls_of_run ON app.opencode_calls (run_id, attempt);

CREATE TRIGGER announce_answer AFTER INSERT ON app.opencode_calls
    FOR EACH ROW WHEN (NEW.is_final) EXECUTE FUNCTION app.announce_decision();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.plan_questions
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.opencode_calls
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.plan_questions EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.opencode_calls EXECUTE FUNCTION app.refuse_change();

ALTER TABLE app.runs DROP CONSTRAINT runs_next_action_check;
ALTER TABLE app.runs ADD CONSTRAINT runs_next_action_check
    CHECK (next_action IN ('PLAN', 'APPROVE_PLAN', 'ANSWER', 'REPAIR', 'NONE'));
