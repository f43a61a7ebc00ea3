-- The setup of a plan: a command whose result all tasks of the run share. And the setups that runs used.

ALTER TABLE app.complete_plans ADD COLUMN setup text;
COMMENT ON COLUMN app.complete_plans.setup IS 'the section about the setup; null for a plan without one';
COMMENT ON COLUMN app.complete_plans.head IS
    '{v, changes, tasks, recipe, policy, base} and, in plans that have them, {push, setup}, each section by its sha256';

CREATE TABLE app.run_setups (
    run_id text NOT NULL REFERENCES app.runs (id),
    retry int NOT NULL CHECK (retry >= 0),
    setup_sha256 text NOT NULL CHECK (setup_sha256 ~ '^[0-9a-f]{64}$'),
    layer_sha256 text NOT NULL CHECK (layer_sha256 ~ '^[0-9a-f]{64}$'),
    provider text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('prepared', 'cached', 'simulated', 'failed')),
    exit_code int,
    wall_ms int NOT NULL CHECK (wall_ms >= 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, retry),
    CHECK (outcome = 'failed' OR coalesce(exit_code, 0) = 0)
);
COMMENT ON TABLE app.run_setups IS 'The setup that the tasks of a run used, one row per retry: the first worker''s.';
COMMENT ON COLUMN app.run_setups.setup_sha256 IS 'hash of the setup in the approved plan';
COMMENT ON COLUMN app.run_setups.layer_sha256 IS 'hash of the setup and of the files that its command saw';
COMMENT ON COLUMN app.run_setups.outcome IS
    'prepared: the command was executed; cached: its earlier result was used; simulated: by the mock provider';
COMMENT ON COLUMN app.run_setups.exit_code IS 'of the command; null when it was not executed, or was killed';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.run_setups
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.run_setups EXECUTE FUNCTION app.refuse_change();
