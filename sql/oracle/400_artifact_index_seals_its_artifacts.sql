-- A task's artifact index has the hash of the index computed from the artifacts stored after it, in order. No
-- artifact is missing or extra, and none differs in hash, kind or address.
-- source: docs/architecture.md, Task results and artifacts
WITH listed AS (
    SELECT run_id, task_key, count(*) AS kept, string_agg(
        '{"kind":' || to_json(kind) || ',"sha256":"' || sha256 || '","uri":' || to_json(uri) || '}', ',' ORDER BY idx)
        AS items
    FROM app.artifacts
    WHERE step_id = 'ExecuteST' AND task_key <> '' AND idx > 0
    GROUP BY run_id, task_key
), sealed AS (
    SELECT s.run_id, s.task_key, i.sha256, i.inline, coalesce(l.kept, 0) AS kept,
        encode(sha256(convert_to(
            '{"createdAt":"1970-01-01T00:00:00.000Z","items":[' || coalesce(l.items, '')
            || '],"provider":' || to_json(coalesce(s.response #>> '{raw,provider}', ''))
            || ',"rawRef":"artifact://run/' || s.run_id || '/step/ExecuteST/task/' || s.task_key || '/raw.json"'
            || ',"taskKey":"' || s.task_key || '"}', 'UTF8')), 'hex') AS expected
    FROM app.sbx_runs s
    LEFT JOIN listed l ON l.run_id = s.run_id AND l.task_key = s.task_key
    LEFT JOIN app.artifacts i ON i.run_id = s.run_id AND i.step_id = s.step_id AND i.task_key = s.task_key
        AND i.idx = 0 AND i.kind = 'artifact_index'
    WHERE s.step_id = 'ExecuteST'
)
SELECT run_id, task_key, CASE WHEN sha256 IS NULL THEN 'it has no index'
    ELSE kept || ' artifacts kept; listed but not kept so: ' || coalesce((
        SELECT string_agg(item ->> 'uri', ', ')
        FROM jsonb_array_elements(inline #> '{json,items}') AS listing (item)
        WHERE NOT EXISTS (
            SELECT FROM app.artifacts a
            WHERE a.run_id = sealed.run_id AND a.step_id = 'ExecuteST' AND a.task_key = sealed.task_key
              AND a.uri = item ->> 'uri' AND a.sha256 = item ->> 'sha256')), 'none') END AS detail
FROM sealed
WHERE sha256 IS DISTINCT FROM expected
ORDER BY run_id, task_key
