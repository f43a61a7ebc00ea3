-- Who created or revoked a token and who ended a session. Like the tokens, the ledger survives `sisu db reset`.

CREATE TABLE IF NOT EXISTS access.changes (
    number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    event text NOT NULL CHECK (event IN ('token created', 'token revoked', 'session ended')),
    subject text NOT NULL,
    person text NOT NULL,
    made_by text NOT NULL CHECK (made_by <> ''),
    reason text,
    channel text NOT NULL CHECK (channel IN ('api', 'cli', 'dagster')),
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE access.changes IS 'each change of what people may do here, written in the transaction of the change';
COMMENT ON COLUMN access.changes.subject IS 'the id of the token or session';
COMMENT ON COLUMN access.changes.person IS 'whose token or session it is';
COMMENT ON COLUMN access.changes.made_by IS 'the account on the machine for a command, else the person';

CREATE OR REPLACE FUNCTION access.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'access.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON access.changes
    FOR EACH ROW EXECUTE FUNCTION access.refuse_change();
CREATE OR REPLACE TRIGGER not_emptied BEFORE TRUNCATE ON access.changes EXECUTE FUNCTION access.refuse_change();
