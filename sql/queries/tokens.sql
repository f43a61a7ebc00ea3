-- insert --
-- Insert a token's hash.
INSERT INTO access.api_tokens (id, owner, roles, groups, sha256)
VALUES (%(id)s, %(owner)s, %(roles)s, %(groups)s, %(sha256)s)
RETURNING *

-- list --
-- All tokens without their hashes, the newest first.
SELECT id, owner, roles, groups, created_at, revoked_at FROM access.api_tokens ORDER BY created_at DESC, id

-- revoke --
-- Revoke a token. The first time is final.
UPDATE access.api_tokens SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = %(id)s
RETURNING id, owner, roles, groups, created_at, revoked_at

-- lookup --
-- The owners of these token hashes, one row each. `required` is true once a token or a person exists.
SELECT asked.sha256,
    EXISTS (SELECT FROM access.api_tokens) OR EXISTS (SELECT FROM access.people) AS required,
    token.owner, token.roles, token.groups || coalesce(person.groups, '{}') AS groups
FROM unnest(%(sha256s)s::text[]) AS asked (sha256)
LEFT JOIN access.api_tokens token ON token.sha256 = asked.sha256 AND token.revoked_at IS NULL
LEFT JOIN access.people person ON person.name = token.owner
