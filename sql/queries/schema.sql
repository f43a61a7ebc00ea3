-- lock --
-- Serialize migrations and resets on all machines; released at the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('sisu:migrate', 0))

-- create_schemas --
-- Create the three schemas. Dagster and DBOS create the tables of theirs.
CREATE SCHEMA IF NOT EXISTS app;
CREATE SCHEMA IF NOT EXISTS dagster;
CREATE SCHEMA IF NOT EXISTS dbos;

-- create_ledger --
-- The table of applied migrations with the hash of their text.
CREATE TABLE IF NOT EXISTS app.schema_migrations (
    name text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- has_ledger --
-- Whether the table of applied migrations exists.
SELECT to_regclass('app.schema_migrations') IS NOT NULL

-- applied --
-- The applied migrations.
SELECT name, sha256 FROM app.schema_migrations

-- record --
-- Record an applied migration.
INSERT INTO app.schema_migrations (name, sha256) VALUES (%(name)s, %(sha256)s)

-- tables --
-- The tables of some schemas.
SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%(schemas)s) ORDER BY schemaname, tablename

-- users --
-- The names of the connections that workers and APIs hold to this database.
SELECT DISTINCT application_name AS name FROM pg_stat_activity
WHERE datname = current_database()
    AND (starts_with(application_name, 'sisu-worker ') OR starts_with(application_name, 'sisu-api'))
ORDER BY name

-- database_exists --
-- Whether the server has a database of this name.
SELECT 1 FROM pg_database WHERE datname = %(name)s
