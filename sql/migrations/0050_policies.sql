-- Approval policies of the deployment: immutable versions, named by recipes. A run keeps the version it started with.

CREATE FUNCTION app.refuse_new_content() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% holds final versions: add another with `sisu policy apply` or `sisu recipe apply`', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TABLE app.policies (
    id text NOT NULL CHECK (id ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
    version int NOT NULL CHECK (version > 0),
    document text NOT NULL,
    content jsonb NOT NULL GENERATED ALWAYS AS (document::jsonb) STORED,
    sha256 text NOT NULL CHECK (sha256 = encode(sha256(convert_to(document, 'UTF8')), 'hex')),
    applied_by text CHECK (applied_by <> ''),
    channel text NOT NULL CHECK (channel <> ''),
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id, version),
    CHECK (document::jsonb ->> 'id' = id)
);
COMMENT ON TABLE app.policies IS 'who may submit, who must approve, and until when; the newest version counts for new runs';
COMMENT ON COLUMN app.policies.document IS 'canonical JSON of the policy; its sha256 identifies the content';
COMMENT ON COLUMN app.policies.applied_by IS 'the owner of the token; null if no token was required';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.policies
    FOR EACH ROW EXECUTE FUNCTION app.refuse_new_content();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.policies EXECUTE FUNCTION app.refuse_new_content();

CREATE FUNCTION pg_temp.seed_policy(document text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO app.policies (id, version, document, sha256, channel)
    VALUES (document::jsonb ->> 'id', 1, document, encode(sha256(convert_to(document, 'UTF8')), 'hex'), 'migration')
$$;
SELECT pg_temp.seed_policy(
    '{"approvals":1,"deadlineMayApprove":false,"id":"default","longestDeadlineS":2592000,"selfApproval":true}');

-- The rules that recipes had in columns become policies. These columns have no meaning any more.
ALTER TABLE app.recipes
    ADD COLUMN policy_id text NOT NULL DEFAULT 'default',
    ADD COLUMN applied_by text CHECK (applied_by <> ''),
    ADD COLUMN channel text NOT NULL DEFAULT 'migration' CHECK (channel <> '');
COMMENT ON COLUMN app.recipes.policy_id IS 'the policy whose newest version a run of this recipe starts with';
COMMENT ON COLUMN app.recipes.approvals_required IS 'replaced by app.policies';
COMMENT ON COLUMN app.recipes.approvers IS 'replaced by app.policies';
COMMENT ON COLUMN app.recipes.self_approval IS 'replaced by app.policies';

UPDATE app.recipes SET policy_id = left('from-' || regexp_replace(lower(id), '[^a-z0-9_-]', '-', 'g'), 64)
WHERE approvals_required > 1 OR approvers IS NOT NULL OR NOT self_approval;
SELECT pg_temp.seed_policy(
    '{"approvals":' || approvals_required
        || coalesce(',"approvers":{"groups":[],"people":[' || (
            SELECT string_agg(to_json(person)::text, ',' ORDER BY person COLLATE "C")
            FROM (SELECT DISTINCT unnest(approvers) AS person) AS named
        ) || ']}', '')
        || ',"deadlineMayApprove":false,"id":"' || policy_id || '","longestDeadlineS":2592000,"selfApproval":'
        || self_approval || '}')
FROM app.recipes WHERE policy_id <> 'default';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.recipes
    FOR EACH ROW EXECUTE FUNCTION app.refuse_new_content();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.recipes EXECUTE FUNCTION app.refuse_new_content();

-- Plans that were decided before there were policies keep their decision.
SELECT pg_temp.seed_policy(
    '{"approvals":1,"deadlineMayApprove":true,"id":"before-policies","longestDeadlineS":2592000,"selfApproval":true}')
WHERE EXISTS (SELECT FROM app.plan_approvals);

ALTER TABLE app.runs
    ADD COLUMN policy_id text,
    ADD COLUMN policy_version int,
    ADD COLUMN policy_sha256 text,
    ADD COLUMN approval_rules jsonb;
COMMENT ON COLUMN app.runs.approval_rules IS 'the policy''s rules as the intent''s constraints tighten them';

-- The triggers of app.runs would note a change of the run.
ALTER TABLE app.runs DISABLE TRIGGER USER;
UPDATE app.runs run
SET policy_id = policy.id, policy_version = policy.version, policy_sha256 = policy.sha256,
    approval_rules = policy.content - 'id' - 'submitters'
FROM app.recipes recipe, app.policies policy
WHERE recipe.id = run.recipe_id AND policy.version = 1 AND policy.id = CASE
    WHEN EXISTS (SELECT FROM app.plan_approvals made WHERE made.run_id = run.id) THEN 'before-policies'
    ELSE recipe.policy_id END;
ALTER TABLE app.runs ENABLE TRIGGER USER;

ALTER TABLE app.runs
    ALTER COLUMN policy_id SET NOT NULL,
    ALTER COLUMN policy_version SET NOT NULL,
    ALTER COLUMN policy_sha256 SET NOT NULL,
    ALTER COLUMN approval_rules SET NOT NULL,
    ADD FOREIGN KEY (policy_id, policy_version) REFERENCES app.policies (id, version);

-- Processes of earlier releases, which run beside newer ones during a rolling upgrade, name no policy.
CREATE FUNCTION app.pin_policy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT policy.id, policy.version, policy.sha256, policy.content - 'id' - 'submitters'
    INTO NEW.policy_id, NEW.policy_version, NEW.policy_sha256, NEW.approval_rules
    FROM app.recipes recipe JOIN app.policies policy ON policy.id = recipe.policy_id
    WHERE recipe.id = NEW.recipe_id ORDER BY policy.version DESC LIMIT 1;
    RETURN NEW;
END $$;
CREATE TRIGGER pin_policy BEFORE INSERT ON app.runs
    FOR EACH ROW WHEN (NEW.policy_id IS NULL) EXECUTE FUNCTION app.pin_policy();

DROP TRIGGER fixed_columns ON app.runs;
CREATE TRIGGER fixed_columns BEFORE UPDATE OF
    id, intent_id, workflow_id, recipe_id, recipe_version, recipe_hash, policy_id, policy_version, policy_sha256,
    approval_rules, queue_name, queue_partition_key, priority, lane, tenant_id, trace_id, budget, timeout_ms,
    submitted_by
    ON app.runs FOR EACH ROW EXECUTE FUNCTION app.refuse_columns();

-- Groups of people belong to tokens, which `sisu db reset` keeps.
ALTER TABLE access.api_tokens ADD COLUMN IF NOT EXISTS groups text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN access.api_tokens.groups IS 'what policies may name instead of the owner';
CREATE INDEX IF NOT EXISTS api_tokens_by_owner ON access.api_tokens (owner);
CREATE OR REPLACE VIEW app.api_tokens AS
SELECT id, owner, roles, sha256, created_at, revoked_at, groups FROM access.api_tokens;
DROP FUNCTION pg_temp.seed_policy;
