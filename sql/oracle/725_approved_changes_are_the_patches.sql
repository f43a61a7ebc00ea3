-- The changes of a complete plan are the effect of its patches on the intent's files: each names the content of a
-- file before the first patch and after the last patch of that file.
-- source: docs/human-gate.md, What an approval covers
WITH plans AS (
    SELECT c.run_id, c.version, c.changes, coalesce(v.plan, s.output) AS plan,
        coalesce(i.payload #> '{inputs,files}', '{}') AS files
    FROM app.complete_plans c
    JOIN app.runs r ON r.id = c.run_id
    JOIN app.intents i ON i.id = r.intent_id
    LEFT JOIN app.plan_versions v ON v.run_id = c.run_id AND v.version = c.version
    LEFT JOIN app.run_steps s ON s.run_id = c.run_id AND s.step_id = 'CompileST' AND s.attempt = 1
), patched AS (
    SELECT DISTINCT ON (p.run_id, p.version, t.patch ->> 'targetPath') p.run_id, p.version,
        t.patch ->> 'targetPath' AS path, p.files ->> (t.patch ->> 'targetPath') AS before,
        t.patch ->> 'postimageContent' AS after
    FROM plans p, jsonb_array_elements(p.plan -> 'patchPlan') WITH ORDINALITY AS t (patch, place)
    ORDER BY p.run_id, p.version, t.patch ->> 'targetPath', t.place DESC
), due AS (
    SELECT run_id, version, path,
        encode(sha256(convert_to(before, 'UTF8')), 'hex') AS old, encode(sha256(convert_to(after, 'UTF8')), 'hex') AS new
    FROM patched WHERE before IS DISTINCT FROM after
), named AS (
    SELECT p.run_id, p.version, change ->> 'path' AS path, change #>> '{old,sha256}' AS old,
        change #>> '{new,sha256}' AS new
    FROM plans p, jsonb_array_elements(p.changes::jsonb) AS change
)
SELECT run_id, version, path,
    CASE WHEN d.run_id IS NULL THEN 'no patch makes this change'
         WHEN n.run_id IS NULL THEN 'the complete plan does not name this change'
         ELSE 'named is ' || coalesce(n.old, 'no file') || ' to ' || n.new || ', the patches make '
            || coalesce(d.old, 'no file') || ' to ' || d.new END AS detail
FROM due d
FULL JOIN named n USING (run_id, version, path)
WHERE (d.old, d.new, d.path) IS DISTINCT FROM (n.old, n.new, n.path)
ORDER BY run_id, version, path
