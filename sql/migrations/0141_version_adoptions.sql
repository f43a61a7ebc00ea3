-- Declared successors of application versions: workers of the successor finish the work of the version before it.

CREATE TABLE app.version_adoptions (
    old_version text PRIMARY KEY CHECK (old_version <> ''),
    new_version text NOT NULL CHECK (new_version <> ''),
    adopted_by text NOT NULL CHECK (adopted_by <> ''),
    channel text NOT NULL CHECK (channel IN ('api', 'inbox', 'cli')),
    reason text NOT NULL,
    adopted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (old_version <> new_version)
);
COMMENT ON TABLE app.version_adoptions IS 'the version whose workers take over what waits for another version; final';
COMMENT ON COLUMN app.version_adoptions.reason IS 'empty when none was given';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.version_adoptions
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.version_adoptions EXECUTE FUNCTION app.refuse_change();

CREATE VIEW app.version_successors AS
WITH RECURSIVE successors AS (
    SELECT old_version AS version, new_version AS successor FROM app.version_adoptions
    UNION
    SELECT s.version, a.new_version FROM successors s JOIN app.version_adoptions a ON a.old_version = s.successor
)
SELECT version, successor,
    NOT EXISTS (SELECT FROM app.version_adoptions a WHERE a.old_version = s.successor) AS is_last
FROM successors s;
COMMENT ON VIEW app.version_successors IS
    'every successor of a version, direct or by way of others; the last one takes over the work';
