-- The commit that a run starts from, for intents with `inputs.repo`: resolved once, before the planner is asked. And
-- the files of that commit at the paths of the compiled plan, so that rows alone show and edit the plan.

CREATE TABLE app.run_bases (
    run_id text PRIMARY KEY REFERENCES app.runs (id),
    address text NOT NULL,
    ref text NOT NULL,
    subdirectory text,
    commit_id text NOT NULL CHECK (commit_id ~ '^[0-9a-f]{40}$'),
    tree_id text NOT NULL CHECK (tree_id ~ '^[0-9a-f]{40}$'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE app.run_bases IS 'the commit that a run with a repository starts from';
COMMENT ON COLUMN app.run_bases.address IS 'https URL or folder, without credentials';
COMMENT ON COLUMN app.run_bases.tree_id IS 'the tree of the commit, or of its subdirectory';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.run_bases
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.run_bases EXECUTE FUNCTION app.refuse_change();

CREATE TABLE app.base_files (
    run_id text NOT NULL REFERENCES app.run_bases (run_id),
    path text NOT NULL,
    mode text CHECK (mode IN ('100644', '100755')),
    content bytea,
    PRIMARY KEY (run_id, path),
    CHECK ((mode IS NULL) = (content IS NULL))
);
COMMENT ON TABLE app.base_files IS 'the commit''s files at the paths of the compiled plan; null where there is none';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.base_files
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.base_files EXECUTE FUNCTION app.refuse_change();
