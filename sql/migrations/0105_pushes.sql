-- Branches of succeeded runs: a recipe names where they are pushed, the complete plan shows it, one row requests the
-- push, and one row records how it ended.

ALTER TABLE app.recipes ADD COLUMN push_remote text CHECK (push_remote <> '');
COMMENT ON COLUMN app.recipes.push_remote IS
    'where the branches of succeeded runs are pushed: `origin`, an https URL or a folder; null: nowhere';

ALTER TABLE app.complete_plans ADD COLUMN push text;
COMMENT ON COLUMN app.complete_plans.push IS 'canonical JSON of {branch, remote}; null, and not in the head: no push';
COMMENT ON COLUMN app.complete_plans.head IS
    '{v, changes, tasks, recipe, policy, base} and push, if there is one, each section by its sha256';

CREATE TABLE app.push_requests (
    run_id text PRIMARY KEY REFERENCES app.runs (id),
    remote text NOT NULL CHECK (remote <> ''),
    branch text NOT NULL CHECK (branch <> ''),
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_error text,
    finished_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE app.push_requests IS 'the outbox of pushes; written in the transaction in which a run succeeds';
COMMENT ON COLUMN app.push_requests.remote IS 'https URL or folder, without credentials';
COMMENT ON COLUMN app.push_requests.attempts IS 'counted when an attempt starts';
CREATE INDEX push_requests_due ON app.push_requests (next_attempt_at) WHERE finished_at IS NULL;

CREATE TABLE app.run_pushes (
    run_id text PRIMARY KEY REFERENCES app.push_requests (run_id),
    state text NOT NULL CHECK (state IN ('pushed', 'failed')),
    commit_id text CHECK (commit_id ~ '^[0-9a-f]{40}$'),
    parent_id text CHECK (parent_id ~ '^[0-9a-f]{40}$'),
    tree_id text CHECK (tree_id ~ '^[0-9a-f]{40}$'),
    changes text,
    error text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((state = 'pushed') = (error IS NULL)),
    CHECK (state = 'failed' OR num_nulls(commit_id, parent_id, tree_id, changes) = 0)
);
COMMENT ON TABLE app.run_pushes IS 'how the push of each branch ended, once';
COMMENT ON COLUMN app.run_pushes.changes IS
    'canonical JSON of the difference between the parent and the commit, as git lists it: path, modes, blobs';

CREATE TRIGGER append_only BEFORE DELETE ON app.push_requests
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER fixed_columns BEFORE UPDATE OF run_id, remote, branch, created_at ON app.push_requests
    FOR EACH ROW EXECUTE FUNCTION app.refuse_columns();
CREATE TRIGGER finished_once BEFORE UPDATE ON app.push_requests
    FOR EACH ROW WHEN (OLD.finished_at IS NOT NULL) EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.push_requests EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.run_pushes
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.run_pushes EXECUTE FUNCTION app.refuse_change();

-- The webhook's outbox carries the ends of pushes too.
ALTER TABLE app.escalations DROP CONSTRAINT escalations_run_id_gate_key_fkey;
COMMENT ON TABLE app.escalations IS
    'the outbox of the webhook: passed deadlines, by their gates, and ends of pushes, under the key `push`';
COMMENT ON COLUMN app.escalations.gate_key IS 'the gate whose deadline passed; `push` for the end of a push';
