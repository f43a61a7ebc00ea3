-- ApplyPatchST's card of a patch has the operation, paths, modes and hashes that were recorded for the patch.
-- source: docs/architecture.md, Workspace patches
WITH recorded AS (
    SELECT h.*, to_json(h.target_path) AS target, coalesce(to_json(h.from_path)::text, 'null') AS source,
        coalesce('"' || h.preimage_hash || '"', 'null') AS preimage,
        coalesce('"' || h.postimage_hash || '"', 'null') AS postimage,
        CASE WHEN h.preimage_hash IS NULL THEN 'null' WHEN h.preimage_mode & 64 > 0 THEN '"100755"'
             ELSE '"100644"' END AS old_mode,
        CASE WHEN h.postimage_hash IS NULL THEN 'null' WHEN h.postimage_mode & 64 > 0 THEN '"100755"'
             ELSE '"100644"' END AS new_mode
    FROM app.patch_history h
)
SELECT h.run_id, h.patch_index, h.target_path,
    CASE WHEN a.run_id IS NULL THEN 'ApplyPatchST was committed without its card' ELSE 'its card says otherwise' END
        AS detail
FROM app.run_steps s
JOIN recorded h ON h.run_id = s.run_id AND h.step_id = s.step_id
LEFT JOIN app.artifacts a ON a.run_id = h.run_id AND a.step_id = h.step_id AND a.task_key = ''
    AND a.idx = h.patch_index AND a.kind = 'patch_apply'
WHERE s.step_id = 'ApplyPatchST'
  AND a.sha256 IS DISTINCT FROM encode(sha256(convert_to(
    '{"diffHash":"' || h.diff_hash
    || CASE WHEN h.op IS NULL THEN '","patchIndex":' || h.patch_index
            ELSE '","fromPath":' || h.source || ',"mode":' || h.new_mode || ',"oldMode":' || h.old_mode
                || ',"op":"' || h.op || '","patchIndex":' || h.patch_index END
    || ',"postimageHash":' || h.postimage || ',"preimageHash":' || h.preimage
    || ',"targetPath":' || h.target || '}', 'UTF8')), 'hex')
ORDER BY h.run_id, h.patch_index
