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

-- list --
-- The open sessions, the newest first.
SELECT 'ses_' || left(session.sha256, 12) AS id, coalesce(token.owner, session.person) AS person, session.host,
    session.token_id, session.created_at, session.expires_at
FROM access.sessions session
LEFT JOIN access.api_tokens token ON token.id = session.token_id
WHERE session.closed_at IS NULL AND session.expires_at > clock_timestamp() AND token.revoked_at IS NULL
ORDER BY session.created_at DESC, session.sha256

-- end --
-- End one session by its id, or all sessions of a person, and record who ended them.
WITH ended AS (
    UPDATE access.sessions session SET closed_at = clock_timestamp()
    FROM access.sessions open LEFT JOIN access.api_tokens token ON token.id = open.token_id
    WHERE open.sha256 = session.sha256 AND open.closed_at IS NULL AND open.expires_at > clock_timestamp()
      AND ('ses_' || left(open.sha256, 12) = %(id)s OR coalesce(token.owner, open.person) = %(person)s)
    RETURNING 'ses_' || left(session.sha256, 12) AS id, coalesce(token.owner, open.person) AS person, session.host,
        session.token_id, session.created_at, session.expires_at
), recorded AS (
    INSERT INTO access.changes (event, subject, person, made_by, reason, channel)
    SELECT 'session ended', id, person, %(made_by)s, %(reason)s, 'cli' FROM ended
)
SELECT * FROM ended ORDER BY created_at DESC, id

-- close --
-- Close a session. Repeating it changes nothing.
UPDATE access.sessions SET closed_at = coalesce(closed_at, clock_timestamp()) WHERE sha256 = %(sha256)s

-- delete_expired --
-- Delete sessions that ended more than a day ago.
DELETE FROM access.sessions WHERE expires_at < clock_timestamp() - interval '1 day'
