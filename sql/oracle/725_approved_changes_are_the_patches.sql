-- The changes of a complete plan are the effect of its patches on the files that the plan starts from: each names the
-- content and the mode of a file before the first patch and after the last patch of that file. A renamed file is one
-- that is deleted and one that is created.
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
        t.patch ->> 'targetPath' AS path, t.patch ->> 'fromPath' AS from_path, t.patch ->> 'op' AS op,
        t.patch ->> 'mode' AS mode,
        CASE WHEN t.patch ? 'op' THEN t.patch ->> 'oldSha256'
             ELSE encode(sha256(convert_to(p.files ->> (t.patch ->> 'targetPath'), 'UTF8')), 'hex') END AS old,
        encode(sha256(coalesce(decode(t.patch ->> 'contentBase64', 'base64'),
            convert_to(t.patch ->> 'postimageContent', 'UTF8'))), 'hex') AS content
    FROM plans p, jsonb_array_elements(p.plan -> 'patchPlan') WITH ORDINALITY AS t (patch, place)
    ORDER BY p.run_id, p.version, t.patch ->> 'targetPath', t.place DESC
), effects AS (
    SELECT run_id, version, path, from_path, CASE WHEN op = 'rename' THEN NULL ELSE old END AS old,
        CASE WHEN op = 'delete' THEN NULL ELSE coalesce(content, old) END AS new, mode FROM patched
    UNION ALL
    SELECT run_id, version, from_path, NULL, old, NULL, NULL FROM patched WHERE op = 'rename'
), named AS (
    SELECT p.run_id, p.version, change ->> 'path' AS path, change ->> 'op' AS op, change #>> '{old,sha256}' AS old,
        change #>> '{new,sha256}' AS new, change ->> 'oldMode' AS old_mode, change ->> 'mode' AS mode
    FROM plans p, jsonb_array_elements(p.changes::jsonb) AS change
), compared AS (
    SELECT run_id, version, path, n.run_id IS NOT NULL AS is_named, d.run_id IS NOT NULL AS is_due,
        n.op, n.old, n.new, n.old_mode, n.mode, d.old AS due_old, d.new AS due_new,
        d.old IS DISTINCT FROM d.new OR d.mode IS NOT NULL AS has_effect,
        CASE WHEN d.new IS NOT NULL THEN coalesce(d.mode, source_mode, n.old_mode, '100644') END AS due_mode
    FROM effects d
    FULL JOIN named n USING (run_id, version, path)
    LEFT JOIN LATERAL (
        SELECT s.old_mode AS source_mode FROM named s
        WHERE s.run_id = d.run_id AND s.version = d.version AND s.path = d.from_path
    ) source ON true
)
SELECT run_id, version, path,
    CASE WHEN NOT is_due THEN 'no patch makes this change'
         WHEN NOT is_named THEN 'the complete plan does not name this change'
         ELSE 'named is ' || coalesce(old, 'no file') || ' to ' || coalesce(concat_ws(' ', mode, new), 'no file')
            || ', the patches make ' || coalesce(due_old, 'no file') || ' to '
            || coalesce(concat_ws(' ', due_mode, due_new), 'no file') END AS detail
FROM compared
WHERE NOT is_due
   OR (NOT is_named AND has_effect)
   OR (is_named AND (
        (old, new, mode) IS DISTINCT FROM (due_old, due_new, due_mode)
        OR (old_mode IS NULL) <> (old IS NULL)
        OR op <> CASE WHEN old IS NULL THEN 'create' WHEN new IS NULL THEN 'delete' ELSE 'modify' END))
ORDER BY run_id, version, path
