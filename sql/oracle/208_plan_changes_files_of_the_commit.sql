-- In a run with a repository, each file that a complete plan changes is stored as the commit has it: with the old mode
-- and content that the plan names, or as absent when the plan creates it.
-- source: docs/repositories.md, From a reference to a commit
SELECT c.run_id, c.version, change ->> 'path' AS path,
    CASE WHEN f.run_id IS NULL THEN 'the file of the commit is not stored'
         ELSE 'the plan names another old file than ' || coalesce(concat_ws(' ', f.mode,
            encode(sha256(f.content), 'hex')), 'none') END AS detail
FROM app.complete_plans c
JOIN app.run_bases b ON b.run_id = c.run_id
CROSS JOIN LATERAL jsonb_array_elements(c.changes::jsonb) AS change
LEFT JOIN app.base_files f ON f.run_id = c.run_id AND f.path = change ->> 'path'
WHERE f.run_id IS NULL
   OR (f.mode, encode(sha256(f.content), 'hex')) IS DISTINCT FROM (change ->> 'oldMode', change #>> '{old,sha256}')
ORDER BY c.run_id, c.version, path
