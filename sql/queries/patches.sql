-- insert --
-- Record a patch before the file changes. The first record is final; a patch that is applied again after a rollback (in
-- a retry) has to be rolled back again.
INSERT INTO app.patch_history (
    run_id, step_id, patch_index, op, target_path, from_path, preimage_hash, preimage_content, preimage_mode,
    postimage_hash, postimage_content, postimage_mode, diff_hash)
VALUES (
    %(run_id)s, %(step_id)s, %(patch_index)s, %(op)s, %(target_path)s, %(from_path)s, %(preimage_hash)s,
    %(preimage_content)s, %(preimage_mode)s, %(postimage_hash)s, %(postimage_content)s, %(postimage_mode)s,
    %(diff_hash)s)
ON CONFLICT (run_id, step_id, patch_index) DO UPDATE SET rolled_back_at = NULL

-- get --
-- One recorded patch.
SELECT * FROM app.patch_history
WHERE run_id = %(run_id)s AND step_id = %(step_id)s AND patch_index = %(patch_index)s

-- exists --
-- Whether a patch of a run is recorded.
SELECT EXISTS (SELECT FROM app.patch_history WHERE run_id = %(run_id)s)

-- mark_applied --
-- Record that the file has the new content. The first time is final.
UPDATE app.patch_history SET applied_at = clock_timestamp()
WHERE run_id = %(run_id)s AND step_id = %(step_id)s AND patch_index = %(patch_index)s AND applied_at IS NULL

-- to_roll_back --
-- Patches to roll back, the last applied first: DecideST's, of an edited plan, before ApplyPatchST's. A recorded patch
-- that is not marked as applied may have changed its file.
SELECT * FROM app.patch_history
WHERE run_id = %(run_id)s AND rolled_back_at IS NULL AND (%(step_id)s::text IS NULL OR step_id = %(step_id)s)
ORDER BY step_id = 'ApplyPatchST', patch_index DESC

-- mark_rolled_back --
-- Record that the file has its old content again.
UPDATE app.patch_history SET rolled_back_at = clock_timestamp()
WHERE run_id = %(run_id)s AND step_id = %(step_id)s AND patch_index = %(patch_index)s AND rolled_back_at IS NULL
