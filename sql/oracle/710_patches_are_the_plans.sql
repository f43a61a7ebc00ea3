-- The recorded patches are those of the plan, in its order, with the same path, content and diff: for ApplyPatchST
-- the compiled plan, for DecideST the edited one. Each content has the hash its row records.
-- source: docs/architecture.md, Workspace patches
WITH plans AS (
    SELECT run_id, 'ApplyPatchST' AS step_id, output AS plan FROM app.run_steps WHERE step_id = 'CompileST'
    UNION ALL
    SELECT run_id, 'DecideST', plan FROM app.current_plans WHERE version > 1
), planned AS (
    SELECT c.run_id, c.step_id, t.place - 1 AS patch_index, t.patch ->> 'targetPath' AS target_path,
        encode(sha256(convert_to(t.patch ->> 'postimageContent', 'UTF8')), 'hex') AS postimage_hash,
        encode(sha256(convert_to(t.patch ->> 'diffText', 'UTF8')), 'hex') AS diff_hash
    FROM plans c, jsonb_array_elements(c.plan -> 'patchPlan') WITH ORDINALITY AS t (patch, place)
)
SELECT h.run_id, h.patch_index, h.target_path,
    CASE WHEN p.run_id IS NULL THEN 'the plan has no such patch'
         ELSE 'the plan says ' || p.target_path || ' ' || p.postimage_hash || ', remembered is ' || h.postimage_hash
    END AS detail
FROM app.patch_history h
LEFT JOIN planned p ON p.run_id = h.run_id AND p.step_id = h.step_id AND p.patch_index = h.patch_index
WHERE p.run_id IS NULL
   OR (h.target_path, h.postimage_hash, h.diff_hash) <> (p.target_path, p.postimage_hash, p.diff_hash)
   OR encode(sha256(h.postimage_content), 'hex') <> h.postimage_hash
   OR encode(sha256(h.preimage_content), 'hex') <> h.preimage_hash
ORDER BY h.run_id, h.patch_index
