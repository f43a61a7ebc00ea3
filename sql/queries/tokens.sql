-- insert --
-- Insert a token's hash.
INSERT INTO access.api_tokens (id, owner, roles, sha256) VALUES (%(id)s, %(owner)s, %(roles)s, %(sha256)s)
RETURNING *

-- list --
-- All tokens without their hashes, the newest first.
SELECT id, owner, roles, created_at, revoked_at FROM access.api_tokens ORDER BY created_at DESC, id

-- revoke --
-- Revoke a token. The first time is final.
UPDATE access.api_tokens SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = %(id)s
RETURNING id, owner, roles, created_at, revoked_at

-- lookup --
-- The owners and roles of these token hashes, one row each. `required` is true once a token exists.
SELECT asked.sha256, EXISTS (SELECT FROM access.api_tokens) AS required, token.owner, token.roles
FROM unnest(%(sha256s)s::text[]) AS asked (sha256)
LEFT JOIN access.api_tokens token ON token.sha256 = asked.sha256 AND token.revoked_at IS NULL

-- roles_of --
-- The roles of an owner: those of every token of that owner that is not revoked.
SELECT coalesce(array_agg(DISTINCT role), '{}') AS roles
FROM access.api_tokens CROSS JOIN unnest(roles) AS role
WHERE owner = %(owner)s AND revoked_at IS NULL
