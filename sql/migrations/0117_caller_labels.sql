-- Names that the caller gives a start: recorded and shown, no part of the run's identity.
ALTER TABLE app.runs
    ADD COLUMN deduplication_id text CHECK (length(deduplication_id) <= 255),
    ADD COLUMN task_key text CHECK (length(task_key) <= 255);
COMMENT ON COLUMN app.runs.deduplication_id IS
    'the caller''s deduplicationID; the run is unique by its intent, so that two runs may have the same';
COMMENT ON COLUMN app.runs.task_key IS 'the caller''s taskKey; no key of a task';
CREATE TRIGGER fixed_labels BEFORE UPDATE OF deduplication_id, task_key
    ON app.runs FOR EACH ROW EXECUTE FUNCTION app.refuse_columns();
