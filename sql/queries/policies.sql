-- lock --
-- Serialize changes of recipes and policies until the transaction ends: each version follows the one before it.
SELECT pg_advisory_xact_lock(hashtext('sisu:policies'))

-- newest --
-- The newest version of a policy.
SELECT id, version, sha256, content, applied_by, channel, applied_at FROM app.policies
WHERE id = %(id)s ORDER BY version DESC LIMIT 1

-- newest_of_each --
-- The newest version of each policy.
SELECT DISTINCT ON (id) id, version, sha256, content, applied_by, channel, applied_at FROM app.policies
ORDER BY id, version DESC

-- versions --
-- All versions of one policy, the newest first.
SELECT id, version, sha256, content, applied_by, channel, applied_at FROM app.policies
WHERE id = %(id)s ORDER BY version DESC

-- insert --
-- Insert the next version of a policy. The caller holds the lock.
INSERT INTO app.policies (id, version, document, sha256, applied_by, channel)
SELECT %(id)s, coalesce(max(version), 0) + 1, %(document)s, %(sha256)s, %(applied_by)s, %(channel)s
FROM app.policies WHERE id = %(id)s
RETURNING id, version, sha256, content, applied_by, channel, applied_at
