-- Who submitted and started a run, each person once; and whose approvals a decision counted.

CREATE TABLE app.submissions (
    intent_id text NOT NULL REFERENCES app.intents (id),
    action text NOT NULL CHECK (action IN ('submit', 'start')),
    person text CHECK (person <> ''),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE NULLS NOT DISTINCT (intent_id, action, person)
);
COMMENT ON TABLE app.submissions IS 'the people who submitted an intent or started its run, also again';
COMMENT ON COLUMN app.submissions.person IS 'the owner of the token; null if no token was required';
INSERT INTO app.submissions (intent_id, action, person, created_at)
SELECT id, 'submit', submitted_by, created_at FROM app.intents
UNION ALL
SELECT intent_id, 'start', submitted_by, created_at FROM app.runs;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.submissions
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.submissions EXECUTE FUNCTION app.refuse_change();

ALTER TABLE app.plan_approvals ADD COLUMN approvers text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN app.plan_approvals.approvers IS
    'the people whose approvals the decision counts; empty for rejections, and for decisions of deadlines and policies';

UPDATE app.plan_approvals made SET approvers = coalesce((
    SELECT array_agg(DISTINCT said.actor) FROM app.human_interactions said
    WHERE said.run_id = made.run_id AND said.kind = 'approve' AND made.decided_by LIKE '%' || said.actor || '%'
), ARRAY[made.decided_by])
WHERE decision = 'approved' AND decided_by <> 'sisu:deadline';
DROP TRIGGER fixed_columns ON app.plan_approvals;
CREATE TRIGGER fixed_columns BEFORE UPDATE OF
    run_id, decision, decided_by, decided_at, notes, channel, record, approvers
    ON app.plan_approvals FOR EACH ROW EXECUTE FUNCTION app.refuse_columns();


-- Processes of earlier releases, which run beside newer ones during a rolling upgrade, name no approvers.
CREATE FUNCTION app.name_approver() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.approvers := ARRAY[NEW.decided_by];
    RETURN NEW;
END $$;
CREATE TRIGGER name_approver BEFORE INSERT ON app.plan_approvals FOR EACH ROW
    WHEN (NEW.decision = 'approved' AND NEW.approvers = '{}' AND NEW.decided_by !~ '^(sisu|policy):')
    EXECUTE FUNCTION app.name_approver();
