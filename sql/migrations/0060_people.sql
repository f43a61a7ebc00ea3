-- People whom an identity provider or a proxy has identified; a session belongs to a token or to such a person.

CREATE TABLE IF NOT EXISTS access.people (
    name text PRIMARY KEY CHECK (name ~ '\S' AND length(name) <= 200),
    roles text[] NOT NULL CHECK (
        cardinality(roles) > 0 AND roles <@ ARRAY['submitter', 'approver', 'operator', 'viewer']),
    groups text[] NOT NULL,
    identified_by text NOT NULL CHECK (identified_by IN ('provider', 'header')),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE access.people IS 'People as their identity provider or proxy last described them. Once one exists, every request must be authenticated.';
COMMENT ON COLUMN access.people.groups IS 'All groups of the person; approval rules may name them.';

ALTER TABLE access.sessions ALTER COLUMN token_id DROP NOT NULL;
ALTER TABLE access.sessions ADD COLUMN IF NOT EXISTS person text REFERENCES access.people (name);
ALTER TABLE access.sessions DROP CONSTRAINT IF EXISTS token_or_person;
ALTER TABLE access.sessions ADD CONSTRAINT token_or_person CHECK (num_nonnulls(token_id, person) = 1);
COMMENT ON COLUMN access.sessions.person IS 'Who signed in with an identity provider; null for a session of a token.';
