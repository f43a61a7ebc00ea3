-- The complete plan: everything that is executed once a plan is approved. Each section is the canonical JSON text that
-- its hash in the head is of; the plan's hash is that of the head. Runs compiled by release 0.2.0 have no row.

CREATE TABLE app.complete_plans (
    run_id text NOT NULL REFERENCES app.runs (id),
    version int NOT NULL CHECK (version > 0),
    plan_sha256 text NOT NULL CHECK (plan_sha256 ~ '^[0-9a-f]{64}$'),
    head text NOT NULL,
    changes text NOT NULL,
    tasks text NOT NULL,
    recipe text NOT NULL,
    policy text NOT NULL,
    base text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, version)
);
COMMENT ON TABLE app.complete_plans IS 'what each version of a plan permits to be executed; approvals name its hash';
COMMENT ON COLUMN app.complete_plans.head IS '{v, changes, tasks, recipe, policy, base}, each section by its sha256';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.complete_plans
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.complete_plans EXECUTE FUNCTION app.refuse_change();

CREATE OR REPLACE VIEW app.current_plans AS
SELECT c.run_id, coalesce(v.version, 1) AS version, coalesce(v.plan, c.output) AS plan,
    coalesce(v.plan_sha256, s.plan_sha256) AS plan_sha256
FROM (SELECT run_id, output FROM app.run_steps WHERE step_id = 'CompileST' AND attempt = 1) c
LEFT JOIN LATERAL (
    SELECT version, plan, plan_sha256 FROM app.plan_versions
    WHERE run_id = c.run_id ORDER BY version DESC LIMIT 1
) v ON true
LEFT JOIN app.complete_plans s ON s.run_id = c.run_id AND s.version = 1;
COMMENT ON VIEW app.current_plans IS
    'the plan at the gate: the newest version; plan_sha256 is null for a plan that release 0.2.0 compiled';
