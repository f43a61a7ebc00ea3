-- Who is asked to decide about a run, and who substitutes for a person who is away. Neither gives a right: the policy
-- alone determines who may decide.

CREATE TABLE app.run_assignments (
    run_id text NOT NULL REFERENCES app.runs (id),
    number int NOT NULL CHECK (number > 0),
    people text[] NOT NULL,
    groups text[] NOT NULL,
    reason text NOT NULL,
    assigned_by text NOT NULL CHECK (assigned_by <> ''),
    channel text NOT NULL CHECK (channel IN ('api', 'inbox', 'cli', 'dagster')),
    assigned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, number)
);
COMMENT ON TABLE app.run_assignments IS 'who is asked to decide about a run; the row with the highest number counts';
COMMENT ON COLUMN app.run_assignments.people IS 'with no people and no groups, the run is assigned to no one';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.run_assignments
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.run_assignments EXECUTE FUNCTION app.refuse_change();

CREATE FUNCTION app.announce_assignment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sisu_runs', NEW.run_id);
    RETURN NULL;
END $$;
CREATE TRIGGER announce_assignment AFTER INSERT ON app.run_assignments
    FOR EACH ROW EXECUTE FUNCTION app.announce_assignment();

CREATE VIEW app.asked AS
SELECT run.id AS run_id, assigned.assigned_by, assigned.assigned_at,
    CASE WHEN assigned.run_id IS NOT NULL THEN assigned.people
        WHEN run.approval_rules ? 'namedApprovers'
        THEN ARRAY(SELECT jsonb_array_elements_text(run.approval_rules -> 'namedApprovers'))
        WHEN run.approval_rules ? 'approvers'
        THEN ARRAY(SELECT jsonb_array_elements_text(run.approval_rules #> '{approvers,people}'))
        ELSE '{}' END AS people,
    CASE WHEN assigned.run_id IS NOT NULL THEN assigned.groups
        WHEN run.approval_rules ? 'namedApprovers' OR NOT run.approval_rules ? 'approvers' THEN '{}'
        ELSE ARRAY(SELECT jsonb_array_elements_text(run.approval_rules #> '{approvers,groups}')) END AS groups
FROM app.runs run
LEFT JOIN app.run_assignments assigned ON assigned.run_id = run.id
    AND cardinality(assigned.people) + cardinality(assigned.groups) > 0
    AND NOT EXISTS (
        SELECT FROM app.run_assignments newer WHERE newer.run_id = run.id AND newer.number > assigned.number);
COMMENT ON VIEW app.asked IS
    'who is asked to decide about a run: those it is assigned to, or else the approvers that the intent or policy names';

-- Like the tokens, delegations survive `sisu db reset`.
CREATE TABLE IF NOT EXISTS access.delegations (
    number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    person text NOT NULL CHECK (person <> ''),
    delegate text CHECK (delegate <> '' AND delegate <> person),
    begins_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ends_at timestamptz NOT NULL,
    reason text NOT NULL,
    recorded_by text NOT NULL CHECK (recorded_by <> ''),
    channel text NOT NULL CHECK (channel IN ('api', 'inbox', 'cli', 'dagster')),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (begins_at < ends_at)
);
COMMENT ON TABLE access.delegations IS 'the substitute of a person who is away; the newest row of a person counts';
COMMENT ON COLUMN access.delegations.delegate IS 'null: the person is back';
CREATE INDEX IF NOT EXISTS delegations_by_person ON access.delegations (person, number);
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON access.delegations
    FOR EACH ROW EXECUTE FUNCTION access.refuse_change();
CREATE OR REPLACE TRIGGER not_emptied BEFORE TRUNCATE ON access.delegations EXECUTE FUNCTION access.refuse_change();

CREATE VIEW app.delegations AS
SELECT * FROM (
    SELECT DISTINCT ON (person) * FROM access.delegations ORDER BY person, number DESC) AS newest
WHERE delegate IS NOT NULL AND ends_at > clock_timestamp();
COMMENT ON VIEW app.delegations IS 'the delegations that count now or later';

-- The history of a run states who assigned it. Whatever earlier migrations put into the view stays.
DO $$
BEGIN
    EXECUTE 'CREATE OR REPLACE VIEW app.run_history AS ' || rtrim(pg_get_viewdef('app.run_history'), ' ;')
        || ' UNION ALL SELECT run_id, assigned_at, ''assign'', assigned_by, channel,'
        || ' concat_ws('': '', coalesce(nullif(array_to_string(people || groups, '', ''), ''''), ''no one''),'
        || ' nullif(reason, '''')), NULL FROM app.run_assignments';
END
$$;
