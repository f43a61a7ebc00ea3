-- lock --
-- One migration or reset at a time, on any machine; released at the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('sisu:migrate', 0))

-- create_schemas --
-- The three schemas of design §1; Dagster and DBOS make their own tables in theirs.
CREATE SCHEMA IF NOT EXISTS app;
CREATE SCHEMA IF NOT EXISTS dagster;
CREATE SCHEMA IF NOT EXISTS dbos;

-- create_ledger --
-- Which migrations have been applied, and their text's hash.
CREATE TABLE IF NOT EXISTS app.schema_migrations (
    name text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- applied --
-- The migrations this database has.
SELECT name, sha256 FROM app.schema_migrations

-- record --
-- Remember a migration that was just applied.
INSERT INTO app.schema_migrations (name, sha256) VALUES (%(name)s, %(sha256)s)

-- tables --
-- The tables of some schemas.
SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%(schemas)s) ORDER BY schemaname, tablename
