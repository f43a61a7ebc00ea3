-- Patches that delete and rename files and change their modes. A patch that deletes a file has no post-image. Rows that
-- release 0.2.0 inserts name no operation: they create or replace the file at the target path and keep its mode.

ALTER TABLE app.patch_history
    ADD COLUMN op text CHECK (op IN ('create', 'modify', 'delete', 'rename')),
    ADD COLUMN from_path text,
    ADD COLUMN postimage_mode int,
    ALTER COLUMN postimage_hash DROP NOT NULL,
    ALTER COLUMN postimage_content DROP NOT NULL,
    ADD CHECK ((postimage_hash IS NULL) = (postimage_content IS NULL)),
    ADD CHECK ((from_path IS NOT NULL) = (coalesce(op, '') = 'rename')),
    ADD CHECK ((postimage_hash IS NULL) = (coalesce(op, '') = 'delete')),
    ADD CHECK (op IS NULL OR (preimage_hash IS NULL) = (op = 'create'));
COMMENT ON COLUMN app.patch_history.op IS 'null in a row of release 0.2.0: the file is created or replaced';
COMMENT ON COLUMN app.patch_history.from_path IS 'the old path of a renamed file, at which the pre-image was';
COMMENT ON COLUMN app.patch_history.postimage_mode IS 'permission bits; null in a row of release 0.2.0: those of before';
COMMENT ON COLUMN app.patch_history.postimage_hash IS 'null when the patch deletes the file';
CREATE TRIGGER fixed_operation BEFORE UPDATE OF op, from_path, postimage_mode
    ON app.patch_history FOR EACH ROW EXECUTE FUNCTION app.refuse_columns();
