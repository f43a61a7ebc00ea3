-- ApplyPatchST's card of a patch has the hashes that were recorded for the patch.
-- source: docs/architecture.md, Workspace patches
SELECT h.run_id, h.patch_index, h.target_path,
    CASE WHEN a.run_id IS NULL THEN 'ApplyPatchST was committed without its card' ELSE 'its card says otherwise' END
        AS detail
FROM app.run_steps s
JOIN app.patch_history h ON h.run_id = s.run_id AND h.step_id = s.step_id
LEFT JOIN app.artifacts a ON a.run_id = h.run_id AND a.step_id = h.step_id AND a.task_key = ''
    AND a.idx = h.patch_index AND a.kind = 'patch_apply'
WHERE s.step_id = 'ApplyPatchST'
  AND a.sha256 IS DISTINCT FROM encode(sha256(convert_to(
    '{"diffHash":"' || h.diff_hash || '","patchIndex":' || h.patch_index
    || ',"postimageHash":"' || h.postimage_hash || '","preimageHash":' || coalesce('"' || h.preimage_hash || '"', 'null')
    || ',"targetPath":' || to_json(h.target_path) || '}', 'UTF8')), 'hex')
ORDER BY h.run_id, h.patch_index
