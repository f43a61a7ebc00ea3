-- API tokens, stored as hashes, each with an owner and roles; the submitters of intents and runs.
CREATE TABLE app.api_tokens (
    id text PRIMARY KEY CHECK (id ~ '^tok_[0-9a-f]{12}$'),
    owner text NOT NULL CHECK (owner <> ''),
    roles text[] NOT NULL CHECK (
        cardinality(roles) > 0 AND roles <@ ARRAY['submitter', 'approver', 'operator', 'viewer']),
    sha256 text NOT NULL UNIQUE CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
COMMENT ON TABLE app.api_tokens IS 'once a row exists, every request needs a token, even if all are revoked';
COMMENT ON COLUMN app.api_tokens.sha256 IS 'of the token''s text: 256 random bits need no salt';

ALTER TABLE app.intents ADD COLUMN submitted_by text CHECK (submitted_by <> '');
ALTER TABLE app.runs ADD COLUMN submitted_by text CHECK (submitted_by <> '');
COMMENT ON COLUMN app.runs.submitted_by IS 'the owner of the token that started the run; null if no token was required';
