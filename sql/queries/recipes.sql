-- newest --
-- The newest version of a recipe.
SELECT * FROM app.recipes WHERE name = %(name)s ORDER BY version DESC LIMIT 1

-- newest_of_each --
-- The newest version of each recipe.
SELECT DISTINCT ON (name) * FROM app.recipes ORDER BY name, version DESC

-- versions --
-- All versions of one recipe, the newest first.
SELECT * FROM app.recipes WHERE name = %(name)s ORDER BY version DESC

-- push_remote --
-- Where a version of a recipe pushes branches.
SELECT push_remote FROM app.recipes WHERE id = %(id)s

-- insert --
-- Insert a version of a recipe. The caller holds the lock of `policies.lock` and has read the version before it.
INSERT INTO app.recipes (
    id, name, version, queue_name, max_concurrency, max_steps, max_sandbox_minutes, hash, net,
    max_change_requests, policy_id, push_remote, applied_by, channel)
VALUES (
    %(id)s, %(name)s, %(version)s, 'intentQ', %(max_concurrency)s, %(max_steps)s, %(max_sandbox_minutes)s, %(hash)s,
    %(net)s, %(max_change_requests)s, %(policy_id)s, %(push_remote)s, %(applied_by)s, %(channel)s)
RETURNING *
