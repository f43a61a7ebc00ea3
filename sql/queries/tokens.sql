-- insert --
-- Keep a new token's hash.
INSERT INTO app.api_tokens (id, owner, roles, sha256) VALUES (%(id)s, %(owner)s, %(roles)s, %(sha256)s)
RETURNING *

-- list --
-- Every token, without its hash, the newest first.
SELECT id, owner, roles, created_at, revoked_at FROM app.api_tokens ORDER BY created_at DESC, id

-- revoke --
-- End a token; the first time counts.
UPDATE app.api_tokens SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = %(id)s
RETURNING id, owner, roles, created_at, revoked_at

-- lookup --
-- Whose token this hash is, if anybody's; and whether tokens are needed at all. Always one row.
SELECT EXISTS (SELECT FROM app.api_tokens) AS required, token.owner, token.roles
FROM (SELECT) AS nothing
LEFT JOIN app.api_tokens token ON token.sha256 = %(sha256)s AND token.revoked_at IS NULL
