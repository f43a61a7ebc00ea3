-- A decision of several people states who approved, when, which plan and by which channel: one record per approval that
-- it counts, in the form of the decision's own record, so that each can be signed.

CREATE TABLE app.approval_votes (
    run_id text NOT NULL REFERENCES app.runs (id),
    person text NOT NULL CHECK (person <> ''),
    plan_sha256 text NOT NULL CHECK (plan_sha256 ~ '^[0-9a-f]{64}$'),
    channel text CHECK (channel IN ('api', 'inbox', 'cli', 'dagster')),
    voted_at timestamptz NOT NULL,
    record text,
    signature text,
    PRIMARY KEY (run_id, person)
);
COMMENT ON TABLE app.approval_votes IS 'the approvals that the decision about a plan counts, written with the decision';
COMMENT ON COLUMN app.approval_votes.channel IS 'set by the server; null for approvals in release 0.2.0';
COMMENT ON COLUMN app.approval_votes.record IS 'canonical JSON of the approval, as in app.plan_approvals; null without channel';
COMMENT ON COLUMN app.approval_votes.signature IS 'a signature over exactly the bytes of record; null without one';
CREATE TRIGGER append_only BEFORE DELETE ON app.approval_votes
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER fixed_columns BEFORE UPDATE OF run_id, person, plan_sha256, channel, voted_at, record
    ON app.approval_votes FOR EACH ROW EXECUTE FUNCTION app.refuse_columns();
CREATE TRIGGER fixed_signature BEFORE UPDATE OF signature ON app.approval_votes
    FOR EACH ROW WHEN (OLD.signature IS NOT NULL AND NEW.signature IS DISTINCT FROM OLD.signature)
    EXECUTE FUNCTION app.refuse_columns();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.approval_votes EXECUTE FUNCTION app.refuse_change();

CREATE FUNCTION app.record_votes(made app.plan_approvals) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    vote record;
    single app.plan_approvals := made;
BEGIN
    FOR vote IN
        SELECT DISTINCT ON (given.actor) given.actor, given.channel, given.created_at
        FROM app.human_gates gate
        JOIN app.human_interactions given ON given.run_id = gate.run_id AND given.gate_key = gate.gate_key
        WHERE gate.run_id = made.run_id AND gate.purpose = 'approve-plan' AND given.kind = 'approve'
          AND given.actor = ANY(made.approvers) AND coalesce(given.plan_sha256, made.plan_sha256) = made.plan_sha256
        ORDER BY given.actor, given.created_at
    LOOP
        single.decided_by := vote.actor;
        single.decided_at := vote.created_at;
        single.channel := vote.channel;
        INSERT INTO app.approval_votes (run_id, person, plan_sha256, channel, voted_at, record)
        VALUES (made.run_id, vote.actor, made.plan_sha256, vote.channel, vote.created_at,
            CASE WHEN vote.channel IS NOT NULL THEN app.approval_record(single) END)
        ON CONFLICT (run_id, person) DO NOTHING;
    END LOOP;
END $$;
COMMENT ON FUNCTION app.record_votes IS 'records the approvals that a decision counts, once its gate is open';
SELECT app.record_votes(made) FROM app.plan_approvals made WHERE cardinality(approvers) > 0;

CREATE FUNCTION app.record_votes_of_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM app.record_votes(NEW);
    RETURN NULL;
END $$;
CREATE TRIGGER record_votes AFTER INSERT OR UPDATE OF plan_sha256 ON app.plan_approvals
    FOR EACH ROW WHEN (NEW.plan_sha256 IS NOT NULL AND cardinality(NEW.approvers) > 0)
    EXECUTE FUNCTION app.record_votes_of_decision();
