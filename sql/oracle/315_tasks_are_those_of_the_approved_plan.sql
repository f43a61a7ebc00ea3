-- Each task with a result is a task of the approved plan: at its position, with its exact command line, network, time
-- limit, memory, processors, template and setup, executed by its provider. A task that the worker refused executed nothing.
-- source: docs/human-gate.md, What an approval covers
WITH approved AS (
    SELECT c.run_id, c.version, c.plan_sha256, c.head::jsonb ->> 'setup' AS setup, t.place - 1 AS position, t.task
    FROM app.complete_plans c
    JOIN app.plan_approvals p
        ON p.run_id = c.run_id AND p.plan_sha256 = c.plan_sha256 AND p.decision = 'approved',
        jsonb_array_elements(c.tasks::jsonb) WITH ORDINALITY AS t (task, place)
    WHERE c.version = (SELECT max(version) FROM app.complete_plans WHERE run_id = c.run_id)
)
SELECT s.run_id, s.task_key, s.position,
    CASE WHEN a.run_id IS NULL THEN 'the approved plan has no such task'
         ELSE 'approved was ' || a.task::text || ', executed was ' || (s.request - 'filesIn')::text
            || ' by ' || s.provider END AS detail
FROM app.sbx_runs s
JOIN app.complete_plans compiled ON compiled.run_id = s.run_id AND compiled.version = 1
LEFT JOIN approved a ON a.run_id = s.run_id AND a.position = s.position
WHERE s.step_id = 'ExecuteST' AND (
    a.run_id IS NULL
    OR (a.task ->> 'position')::int <> a.position
    OR (s.provider <> a.task ->> 'provider' AND NOT coalesce(s.response -> 'raw' ? 'refused', false))
    OR s.request ->> 'setup' IS DISTINCT FROM a.setup
    OR (s.request -> 'cmd', s.request -> 'net', s.request -> 'timeoutMs', s.request #> '{limits,memMB}',
        s.request #> '{limits,cpu}', s.request -> 'envRef', s.request -> 'templateKey',
        coalesce(s.request -> 'templateId', 'null'), coalesce(s.request -> 'env', '{}'))
       IS DISTINCT FROM
       (a.task -> 'command', a.task -> 'net', a.task -> 'timeoutMs', a.task -> 'memMB',
        a.task -> 'cpu', a.task -> 'environment', a.task #> '{template,key}',
        a.task #> '{template,id}', '{}'::jsonb))
ORDER BY s.run_id, s.position
