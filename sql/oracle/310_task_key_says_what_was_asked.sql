-- The key of each task with a result is the hash of its intent, run, command, test, template, workspace files and the
-- number of failures of the position before the current retry. All of these are recomputed from the rows. A file counts
-- as its text, or, when it is executable or not text, as its mode and sha256. The files of a run with a repository
-- count as the tree of its commit and the hash of the approved changes. The setup of the plan counts by its hash. For a run without a complete plan, which
-- release 0.2.0 compiled, the task is also one of the recorded decision.
-- source: hard law "Determinism" (docs/operator-guide.md)
WITH decided AS (
    SELECT r.id AS run_id, r.intent_id, r.recipe_id || ':' || r.recipe_version || ':' || r.recipe_hash AS template_key,
        d.output #>> '{structured,test_command}' AS cmd, d.output #> '{structured,tests}' AS tests,
        coalesce(i.payload #> '{inputs,files}', '{}') - coalesce(patched.gone, '{}') || coalesce(patched.files, '{}')
            AS files,
        s.head::jsonb ->> 'setup' AS setup,
        '{"changes":' || to_json(s.head::jsonb ->> 'changes') || ',"tree":' || to_json(b.tree_id) || '}' AS tree
    FROM app.run_steps d
    JOIN app.runs r ON r.id = d.run_id
    JOIN app.intents i ON i.id = r.intent_id
    JOIN app.current_plans c ON c.run_id = d.run_id
    LEFT JOIN app.run_bases b ON b.run_id = d.run_id
    LEFT JOIN app.complete_plans s ON s.run_id = d.run_id AND s.version = c.version
    LEFT JOIN LATERAL (
        SELECT array_agg(coalesce(patch ->> 'fromPath', patch ->> 'targetPath')) AS gone,
            jsonb_object_agg(patch ->> 'targetPath', CASE
                WHEN patch ? 'contentBase64' OR patch ->> 'mode' = '100755' THEN jsonb_build_object(
                    'mode', coalesce(patch ->> 'mode', '100644'),
                    'sha256', encode(sha256(coalesce(
                        decode(patch ->> 'contentBase64', 'base64'), convert_to(text, 'UTF8'))), 'hex'))
                ELSE to_jsonb(text) END ORDER BY place) FILTER (WHERE patch ->> 'op' IS DISTINCT FROM 'delete') AS files
        FROM jsonb_array_elements(c.plan -> 'patchPlan') WITH ORDINALITY AS p (patch, place),
            LATERAL (SELECT coalesce(patch ->> 'postimageContent', i.payload #> '{inputs,files}'
                ->> coalesce(patch ->> 'fromPath', patch ->> 'targetPath')) AS text) before
    ) patched ON true
    WHERE d.step_id = 'DecideST'
), hashed AS (
    SELECT run_id, intent_id, template_key, cmd, tests, setup, coalesce(encode(sha256(convert_to(tree, 'UTF8')), 'hex'), (
        SELECT encode(sha256(convert_to(
            '{' || string_agg(to_json(path) || ':' || CASE jsonb_typeof(content)
                WHEN 'string' THEN to_json(content #>> '{}')::text
                ELSE '{"mode":"' || (content ->> 'mode') || '","sha256":"' || (content ->> 'sha256') || '"}' END,
                ',' ORDER BY path COLLATE "C") || '}',
            'UTF8')), 'hex')
        FROM jsonb_each(files) AS f (path, content)
    )) AS files_hash
    FROM decided
), named AS (
    SELECT run_id, test, row_number() OVER (PARTITION BY run_id ORDER BY min(place)) - 1 AS position
    FROM decided, jsonb_array_elements_text(tests) WITH ORDINALITY AS t (test, place)
    GROUP BY run_id, test
), asked AS (
    SELECT h.run_id, coalesce(n.position, 0) AS position, concat_ws(' ', h.cmd, n.test) AS cmd,
        '{"intentId":' || to_json(h.intent_id) || ',"normalizedReq":{"cmd":' || to_json(h.cmd)
            || coalesce(',"filesHash":"' || h.files_hash || '"', '') AS before_retry,
        coalesce(',"setup":"' || h.setup || '"', '') || ',"templateKey":' || to_json(h.template_key) || ',"templateRef":' AS before_template,
        coalesce(',"test":' || to_json(n.test), '') || '},"runId":' || to_json(h.run_id) || ',"stepId":"ExecuteST"}'
            AS after_template
    FROM hashed h
    LEFT JOIN named n ON n.run_id = h.run_id
)
SELECT s.run_id, s.task_key, s.position,
    CASE WHEN a.run_id IS NULL THEN 'the decision asks for nothing in this place'
         ELSE 'asked was ' || (s.request ->> 'cmd') || ', decided was ' || a.cmd || ', or other content' END AS detail
FROM (
    SELECT t.*, (
        SELECT count(*) FROM app.sbx_runs f
        WHERE f.run_id = t.run_id AND f.position = t.position AND f.retry < t.retry AND f.err_code <> 'NONE'
    ) AS failed_before
    FROM app.sbx_runs t
) s
LEFT JOIN asked a ON a.run_id = s.run_id AND a.position = s.position
LEFT JOIN app.complete_plans c ON c.run_id = s.run_id AND c.version = 1
WHERE s.step_id = 'ExecuteST' AND (
    (c.run_id IS NULL AND (s.request ->> 'cmd') IS DISTINCT FROM a.cmd)
    OR (s.request ->> 'taskKey') IS DISTINCT FROM s.task_key
    OR s.task_key <> encode(sha256(convert_to(
        a.before_retry || CASE WHEN s.failed_before > 0 THEN ',"retry":' || s.failed_before ELSE '' END
            || a.before_template || to_json(coalesce(s.request ->> 'templateId', s.request ->> 'envRef')) || a.after_template,
        'UTF8')), 'hex'))
ORDER BY s.run_id, s.position
