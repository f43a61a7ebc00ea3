-- A pushed commit has the commit that the run starts from as its parent, and differs from it by the changes of the
-- approved plan: the same paths, modes and git blobs, below the subdirectory of the run. So its tree is that of the
-- base with the approved difference.
-- source: docs/repositories.md, Push the branch
WITH pushed AS (
    SELECT p.run_id, p.parent_id, p.changes::jsonb AS changes, b.commit_id, c.changes::jsonb AS approved,
        coalesce(b.subdirectory || '/', '') AS prefix
    FROM app.run_pushes p
    LEFT JOIN app.run_bases b ON b.run_id = p.run_id
    LEFT JOIN app.plan_approvals d ON d.run_id = p.run_id AND d.decision = 'approved'
    LEFT JOIN LATERAL (
        SELECT changes FROM app.complete_plans s
        WHERE s.run_id = p.run_id AND s.plan_sha256 = d.plan_sha256 ORDER BY version LIMIT 1
    ) c ON true
    WHERE p.state = 'pushed'
), made AS (
    SELECT run_id, change ->> 'path' AS path, concat_ws(' ', change ->> 'oldMode', change ->> 'old') AS old,
        concat_ws(' ', change ->> 'mode', change ->> 'new') AS new
    FROM pushed, jsonb_array_elements(changes) AS change
), due AS (
    SELECT run_id, prefix || (change ->> 'path') AS path,
        concat_ws(' ', change ->> 'oldMode', change #>> '{old,gitBlob}') AS old,
        concat_ws(' ', change ->> 'mode', change #>> '{new,gitBlob}') AS new
    FROM pushed, jsonb_array_elements(approved) AS change
)
SELECT run_id, NULL AS path,
    'the parent is ' || parent_id || ', the run starts from ' || coalesce(commit_id, 'no commit') AS detail
FROM pushed
WHERE parent_id IS DISTINCT FROM commit_id
UNION ALL
SELECT run_id, path,
    CASE WHEN due.old IS NULL THEN 'the approved plan does not make this change'
         WHEN made.old IS NULL THEN 'the commit lacks this change'
         ELSE format('approved is "%s" to "%s", the commit has "%s" to "%s"', due.old, due.new, made.old, made.new) END
FROM made
FULL JOIN due USING (run_id, path)
WHERE (made.old, made.new) IS DISTINCT FROM (due.old, due.new)
ORDER BY run_id, path
