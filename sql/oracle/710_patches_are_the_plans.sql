-- The recorded patches are those of the plan, in its order, with the same operation, paths, mode, content and diff: for
-- ApplyPatchST the compiled plan, for DecideST the edited one. A patch was applied to the content that the plan names,
-- and one that names no new content kept the old one. Each content has the hash its row records.
-- source: docs/architecture.md, Workspace patches
WITH plans AS (
    SELECT run_id, 'ApplyPatchST' AS step_id, output AS plan FROM app.run_steps WHERE step_id = 'CompileST'
    UNION ALL
    SELECT run_id, 'DecideST', plan FROM app.current_plans WHERE version > 1
), planned AS (
    SELECT c.run_id, c.step_id, t.place - 1 AS patch_index, t.patch ->> 'targetPath' AS target_path,
        t.patch ->> 'op' AS op, t.patch ->> 'fromPath' AS from_path, t.patch ->> 'mode' AS mode,
        t.patch ->> 'oldSha256' AS old_sha256,
        encode(sha256(coalesce(decode(t.patch ->> 'contentBase64', 'base64'),
            convert_to(t.patch ->> 'postimageContent', 'UTF8'))), 'hex') AS content_hash,
        encode(sha256(convert_to(t.patch ->> 'diffText', 'UTF8')), 'hex') AS diff_hash
    FROM plans c, jsonb_array_elements(c.plan -> 'patchPlan') WITH ORDINALITY AS t (patch, place)
), due AS (
    SELECT h.run_id, h.step_id, h.patch_index, p.target_path, p.op, p.from_path, p.diff_hash,
        CASE WHEN p.op IS NULL THEN coalesce(p.old_sha256, h.preimage_hash) ELSE p.old_sha256 END AS preimage_hash,
        CASE WHEN p.op <> 'delete' OR p.op IS NULL THEN coalesce(p.content_hash, h.preimage_hash) END AS postimage_hash,
        CASE WHEN p.op = 'delete' THEN NULL WHEN p.mode = '100755' THEN 493
             WHEN p.mode = '100644' OR p.op = 'create' THEN 420 WHEN p.op IS NULL THEN h.postimage_mode
             ELSE h.preimage_mode END AS postimage_mode
    FROM app.patch_history h
    JOIN planned p ON p.run_id = h.run_id AND p.step_id = h.step_id AND p.patch_index = h.patch_index
)
SELECT h.run_id, h.patch_index, h.target_path,
    CASE WHEN d.run_id IS NULL THEN 'the plan has no such patch'
         ELSE 'the plan says ' || concat_ws(' ', d.op, d.from_path, d.target_path, d.postimage_hash)
            || ', remembered is ' || concat_ws(' ', h.op, h.from_path, h.target_path, h.postimage_hash) END AS detail
FROM app.patch_history h
LEFT JOIN due d ON d.run_id = h.run_id AND d.step_id = h.step_id AND d.patch_index = h.patch_index
WHERE d.run_id IS NULL
   OR (h.op, h.target_path, h.from_path, h.preimage_hash, h.postimage_hash, h.postimage_mode, h.diff_hash)
      IS DISTINCT FROM
      (d.op, d.target_path, d.from_path, d.preimage_hash, d.postimage_hash, d.postimage_mode, d.diff_hash)
   OR encode(sha256(h.postimage_content), 'hex') <> h.postimage_hash
   OR encode(sha256(h.preimage_content), 'hex') <> h.preimage_hash
ORDER BY h.run_id, h.patch_index
