-- open --
-- Open a session for the owner of a token; no row when the token is unknown or revoked.
INSERT INTO access.sessions (sha256, token_id, host, expires_at)
SELECT %(sha256)s, id, %(host)s, clock_timestamp() + make_interval(secs => %(life_s)s)
FROM access.api_tokens WHERE sha256 = %(token_sha256)s AND revoked_at IS NULL
RETURNING token_id

-- open_of_person --
-- Open a session for a person whom an identity provider has identified.
INSERT INTO access.sessions (sha256, person, host, expires_at)
VALUES (%(sha256)s, %(person)s, %(host)s, clock_timestamp() + make_interval(secs => %(life_s)s))

-- lookup --
-- Whose open sessions these are under a host name; `required` is true once a token or a person exists.
SELECT asked.sha256, asked.host,
    EXISTS (SELECT FROM access.api_tokens) OR EXISTS (SELECT FROM access.people) AS required,
    coalesce(token.owner, session.person) AS owner, coalesce(token.roles, person.roles) AS roles, person.groups
FROM unnest(%(sha256s)s::text[], %(hosts)s::text[]) AS asked (sha256, host)
LEFT JOIN access.sessions session ON session.sha256 = asked.sha256 AND session.host = asked.host
    AND session.closed_at IS NULL AND session.expires_at > clock_timestamp()
LEFT JOIN access.api_tokens token ON token.id = session.token_id AND token.revoked_at IS NULL
LEFT JOIN access.people person ON person.name = coalesce(token.owner, session.person)

-- close --
-- Close a session. Repeating it changes nothing.
UPDATE access.sessions SET closed_at = coalesce(closed_at, clock_timestamp()) WHERE sha256 = %(sha256)s

-- delete_expired --
-- Delete sessions that ended more than a day ago.
DELETE FROM access.sessions WHERE expires_at < clock_timestamp() - interval '1 day'
