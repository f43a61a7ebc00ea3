-- A decision names the plan it is about, the channel it came through, and has a record in one canonical form, so that
-- it can be signed. A decision before its gate opens names its plan as soon as the gate opens.

DROP TRIGGER fixed_columns ON app.plan_approvals;

-- Decisions of earlier releases without a plan hash were about the plan at the gate.
UPDATE app.plan_approvals made
SET plan_sha256 = coalesce(
    (SELECT plan_sha256 FROM app.plan_versions WHERE run_id = made.run_id ORDER BY version DESC LIMIT 1),
    gate.plan_sha256)
FROM app.human_gates gate
WHERE gate.run_id = made.run_id AND gate.purpose = 'approve-plan' AND made.plan_sha256 IS NULL;

ALTER TABLE app.plan_approvals
    ADD COLUMN channel text CHECK (channel IN ('api', 'inbox', 'cli', 'dagster', 'deadline', 'policy')),
    ADD COLUMN record text,
    ADD COLUMN signature text;
COMMENT ON COLUMN app.plan_approvals.plan_sha256 IS 'the plan that was decided on; null until the gate opens';
COMMENT ON COLUMN app.plan_approvals.channel IS 'set by the server; null for decisions of release 0.2.0';
COMMENT ON COLUMN app.plan_approvals.record IS
    'canonical JSON {v, deployment, runId, gate, decision, planSha256, policy, person, channel, decidedAt}';
COMMENT ON COLUMN app.plan_approvals.signature IS 'a signature over exactly the bytes of record; null without one';

ALTER TABLE app.human_interactions
    ADD COLUMN channel text CHECK (channel IN ('api', 'inbox', 'cli', 'dagster', 'deadline', 'policy'));
COMMENT ON COLUMN app.human_interactions.channel IS 'set by the server; null for interactions of release 0.2.0';

CREATE FUNCTION app.approval_record(made app.plan_approvals) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT '{"channel":' || to_json(made.channel)
        || ',"decidedAt":"' || to_char(made.decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '","decision":' || to_json(made.decision)
        || ',"deployment":' || to_json((SELECT system_identifier FROM pg_control_system()) || '-' || current_database())
        || ',"gate":"approve-plan-' || left(
            encode(sha256(convert_to(made.run_id || ':ApplyPatchST:approve-plan:1', 'UTF8')), 'hex'), 16)
        || '","person":' || to_json(made.decided_by)
        || ',"planSha256":' || to_json(made.plan_sha256)
        || ',"policy":' || coalesce(
            (SELECT policy FROM app.complete_plans WHERE run_id = made.run_id AND version = 1), 'null')
        || ',"runId":' || to_json(made.run_id) || ',"v":1}'
$$;
COMMENT ON FUNCTION app.approval_record IS 'the record of a decision: canonical JSON, keys in order, policy as planned';

CREATE FUNCTION app.record_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.plan_sha256 IS NULL THEN
        NEW.plan_sha256 := (
            SELECT coalesce(
                (SELECT plan_sha256 FROM app.plan_versions WHERE run_id = NEW.run_id ORDER BY version DESC LIMIT 1),
                gate.plan_sha256)
            FROM app.human_gates gate WHERE gate.run_id = NEW.run_id AND gate.purpose = 'approve-plan');
    END IF;
    -- A process of release 0.2.0, which runs beside newer ones during an upgrade, does not name a channel.
    NEW.record := CASE
        WHEN NEW.plan_sha256 IS NOT NULL AND NEW.channel IS NOT NULL THEN app.approval_record(NEW) END;
    RETURN NEW;
END $$;
CREATE TRIGGER record_decision BEFORE INSERT OR UPDATE OF plan_sha256 ON app.plan_approvals
    FOR EACH ROW EXECUTE FUNCTION app.record_decision();

CREATE FUNCTION app.bind_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE app.plan_approvals SET plan_sha256 = coalesce(plan_sha256, NEW.plan_sha256) WHERE run_id = NEW.run_id;
    RETURN NULL;
END $$;
CREATE TRIGGER bind_decision AFTER INSERT ON app.human_gates
    FOR EACH ROW WHEN (NEW.purpose = 'approve-plan') EXECUTE FUNCTION app.bind_decision();

-- Changes: reported_at, when the decision was reported to Dagster; plan_sha256 and with it the record, when the gate of
-- an earlier decision opens; signature, once.
CREATE TRIGGER fixed_columns BEFORE UPDATE OF run_id, decision, decided_by, decided_at, notes, channel, record
    ON app.plan_approvals FOR EACH ROW EXECUTE FUNCTION app.refuse_columns();
CREATE TRIGGER fixed_plan BEFORE UPDATE OF plan_sha256 ON app.plan_approvals
    FOR EACH ROW WHEN (OLD.plan_sha256 IS NOT NULL AND NEW.plan_sha256 IS DISTINCT FROM OLD.plan_sha256)
    EXECUTE FUNCTION app.refuse_columns();
CREATE TRIGGER fixed_signature BEFORE UPDATE OF signature ON app.plan_approvals
    FOR EACH ROW WHEN (OLD.signature IS NOT NULL AND NEW.signature IS DISTINCT FROM OLD.signature)
    EXECUTE FUNCTION app.refuse_columns();
