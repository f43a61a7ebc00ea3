-- insert --
-- Insert a token's hash, and record who created it.
WITH created AS (
    INSERT INTO access.api_tokens (id, owner, roles, groups, sha256)
    VALUES (%(id)s, %(owner)s, %(roles)s, %(groups)s, %(sha256)s)
    RETURNING *
), recorded AS (
    INSERT INTO access.changes (event, subject, person, made_by, reason, channel)
    SELECT 'token created', id, owner, %(made_by)s, 'roles ' || array_to_string(roles, ', '), 'cli' FROM created
)
SELECT * FROM created

-- list --
-- All tokens without their hashes, the newest first.
SELECT id, owner, roles, groups, created_at, revoked_at FROM access.api_tokens ORDER BY created_at DESC, id

-- revoke --
-- Revoke a token, and record who revoked it. The first time is final.
WITH revoked AS (
    UPDATE access.api_tokens SET revoked_at = clock_timestamp() WHERE id = %(id)s AND revoked_at IS NULL
    RETURNING id, owner, roles, groups, created_at, revoked_at
), recorded AS (
    INSERT INTO access.changes (event, subject, person, made_by, reason, channel)
    SELECT 'token revoked', id, owner, %(made_by)s, %(reason)s, 'cli' FROM revoked
)
SELECT * FROM revoked
UNION ALL
SELECT id, owner, roles, groups, created_at, revoked_at FROM access.api_tokens
WHERE id = %(id)s AND revoked_at IS NOT NULL

-- history --
-- The newest changes of tokens and sessions.
SELECT made_at, event, subject, person, made_by, reason, channel FROM access.changes
ORDER BY number DESC LIMIT %(limit)s

-- lookup --
-- The owners of these token hashes, one row each. `required` is true once a token or a person exists.
SELECT asked.sha256,
    EXISTS (SELECT FROM access.api_tokens) OR EXISTS (SELECT FROM access.people) AS required,
    token.owner, token.roles, token.groups || coalesce(person.groups, '{}') AS groups
FROM unnest(%(sha256s)s::text[]) AS asked (sha256)
LEFT JOIN access.api_tokens token ON token.sha256 = asked.sha256 AND token.revoked_at IS NULL
LEFT JOIN access.people person ON person.name = token.owner
