-- Tokens and sessions live in a schema of their own, which `sisu db reset` keeps. `app.api_tokens` remains as a view.

CREATE SCHEMA IF NOT EXISTS access;

DO $$
BEGIN
    IF to_regclass('access.api_tokens') IS NULL THEN
        ALTER TABLE app.api_tokens SET SCHEMA access;
    ELSE
        -- The schema `app` was reset: its migrations have created an empty table again.
        DROP TABLE app.api_tokens;
    END IF;
END $$;

CREATE VIEW app.api_tokens AS SELECT id, owner, roles, sha256, created_at, revoked_at FROM access.api_tokens;
COMMENT ON VIEW app.api_tokens IS 'The tokens of access.api_tokens. Once one exists, every request needs a token, even when all are revoked.';

CREATE TABLE IF NOT EXISTS access.sessions (
    sha256 text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    token_id text NOT NULL REFERENCES access.api_tokens (id),
    host text NOT NULL CHECK (host <> ''),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    closed_at timestamptz,
    CHECK (expires_at > created_at)
);
COMMENT ON TABLE access.sessions IS 'Signed-in browsers. A session ends with its token, at its expiry, or when it is closed.';
COMMENT ON COLUMN access.sessions.sha256 IS 'Hash of the session id. Only the browser''s cookie holds the id itself.';
COMMENT ON COLUMN access.sessions.host IS 'Host name under which the browser signed in. The session is valid under this name only.';
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON access.sessions (expires_at);
