-- Cancel and retry. The workspace of a canceled run is cleaned up by a sensor. A retry executes failed tasks under new
-- keys, so that no evidence is overwritten.

ALTER TABLE app.runs ADD COLUMN closed_at timestamptz;
COMMENT ON COLUMN app.runs.closed_at IS
    'canceled runs: when patches were taken back, tasks dropped and the Dagster run ended; null before';
CREATE INDEX runs_to_close ON app.runs (updated_at) WHERE status = 'canceled' AND closed_at IS NULL;

ALTER TABLE app.sbx_runs ADD COLUMN retry int NOT NULL DEFAULT 0 CHECK (retry >= 0);
COMMENT ON COLUMN app.sbx_runs.retry IS 'the run''s retry_count when this task was enqueued';

CREATE FUNCTION app.announce_cancel() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sisu_canceled', NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER announce_cancel AFTER UPDATE OF status ON app.runs
    FOR EACH ROW WHEN (NEW.status = 'canceled' AND OLD.status <> 'canceled')
    EXECUTE FUNCTION app.announce_cancel();

CREATE VIEW app.sbx_current AS
SELECT DISTINCT ON (run_id, position) *
FROM app.sbx_runs WHERE step_id = 'ExecuteST'
ORDER BY run_id, position, retry DESC;
COMMENT ON VIEW app.sbx_current IS
    'the newest result of each place in a fan-out: a retry asks failed tasks again under keys of their own';
