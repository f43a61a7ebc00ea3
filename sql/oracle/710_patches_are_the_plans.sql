-- The patches remembered are the plan's, in its order: same path, same new content, same diff; and every content has the
-- hash its row says.
-- source: seed §1 (reversible patch), reference §C2
WITH planned AS (
    SELECT c.run_id, t.place - 1 AS patch_index, t.patch ->> 'targetPath' AS target_path,
        encode(sha256(convert_to(t.patch ->> 'postimageContent', 'UTF8')), 'hex') AS postimage_hash,
        encode(sha256(convert_to(t.patch ->> 'diffText', 'UTF8')), 'hex') AS diff_hash
    FROM app.run_steps c, jsonb_array_elements(c.output -> 'patchPlan') WITH ORDINALITY AS t (patch, place)
    WHERE c.step_id = 'CompileST'
)
SELECT h.run_id, h.patch_index, h.target_path,
    CASE WHEN p.run_id IS NULL THEN 'the plan has no such patch'
         ELSE 'the plan says ' || p.target_path || ' ' || p.postimage_hash || ', remembered is ' || h.postimage_hash
    END AS detail
FROM app.patch_history h
LEFT JOIN planned p ON p.run_id = h.run_id AND p.patch_index = h.patch_index
WHERE p.run_id IS NULL
   OR (h.target_path, h.postimage_hash, h.diff_hash) <> (p.target_path, p.postimage_hash, p.diff_hash)
   OR encode(sha256(h.postimage_content), 'hex') <> h.postimage_hash
   OR encode(sha256(h.preimage_content), 'hex') <> h.preimage_hash
ORDER BY h.run_id, h.patch_index
