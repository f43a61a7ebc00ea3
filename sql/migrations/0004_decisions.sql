-- The ledger of decisions at gates, edited plans, and approval rules of recipes.

CREATE TABLE app.human_interactions (
    run_id text NOT NULL REFERENCES app.runs (id),
    gate_key text NOT NULL CHECK (gate_key ~ '^[a-z0-9][a-z0-9:_-]{0,127}$'),
    dedupe_key text NOT NULL CHECK (length(dedupe_key) BETWEEN 1 AND 256),
    kind text NOT NULL CHECK (kind IN ('approve', 'reject', 'answer', 'timeout')),
    actor text NOT NULL CHECK (actor <> ''),
    plan_sha256 text CHECK (plan_sha256 ~ '^[0-9a-f]{64}$'),
    payload jsonb NOT NULL,
    payload_hash text NOT NULL CHECK (payload_hash ~ '^[0-9a-f]{64}$'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, gate_key, dedupe_key)
);
COMMENT ON COLUMN app.human_interactions.plan_sha256 IS 'the plan at the gate at that time';

CREATE FUNCTION app.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.human_interactions
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();

-- Notify the inbox of votes and of opened gates.
CREATE FUNCTION app.announce_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sisu_runs', NEW.run_id);
    RETURN NULL;
END $$;
CREATE TRIGGER announce_interaction AFTER INSERT ON app.human_interactions
    FOR EACH ROW EXECUTE FUNCTION app.announce_gate();
CREATE TRIGGER announce_gate AFTER INSERT ON app.human_gates
    FOR EACH ROW EXECUTE FUNCTION app.announce_gate();

CREATE TABLE app.plan_versions (
    run_id text NOT NULL REFERENCES app.runs (id),
    version int NOT NULL CHECK (version > 1),
    plan jsonb NOT NULL,
    plan_sha256 text NOT NULL CHECK (plan_sha256 ~ '^[0-9a-f]{64}$'),
    based_on_sha256 text NOT NULL CHECK (based_on_sha256 ~ '^[0-9a-f]{64}$'),
    edited_by text NOT NULL CHECK (edited_by <> ''),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, version)
);
COMMENT ON TABLE app.plan_versions IS 'plans changed by people; version 1 is CompileST''s output';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.plan_versions
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();

CREATE VIEW app.current_plans AS
SELECT c.run_id, coalesce(v.version, 1) AS version, coalesce(v.plan, c.output) AS plan, v.plan_sha256
FROM (SELECT run_id, output FROM app.run_steps WHERE step_id = 'CompileST' AND attempt = 1) c
LEFT JOIN LATERAL (
    SELECT version, plan, plan_sha256 FROM app.plan_versions
    WHERE run_id = c.run_id ORDER BY version DESC LIMIT 1
) v ON true;
COMMENT ON VIEW app.current_plans IS 'the plan at the gate: the newest version; plan_sha256 is null for the compiled one';

ALTER TABLE app.recipes
    ADD COLUMN approvals_required int NOT NULL DEFAULT 1 CHECK (approvals_required > 0),
    ADD COLUMN approvers text[],
    ADD COLUMN self_approval boolean NOT NULL DEFAULT true,
    ADD CHECK (approvers IS NULL OR cardinality(approvers) >= approvals_required);
COMMENT ON COLUMN app.recipes.approvals_required IS 'N of a quorum N-of-M: the number of people who must approve';
COMMENT ON COLUMN app.recipes.approvers IS 'M of a quorum N-of-M: the people who may decide; null for every approver';
COMMENT ON COLUMN app.recipes.self_approval IS 'false: the people who submitted an intent or started its run may not approve it';
