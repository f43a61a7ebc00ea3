-- The artifacts of a task's stdout, stderr, timings and files have the hashes of the corresponding parts of its
-- result, wherever their content is stored.
-- source: docs/architecture.md, Task results and artifacts
WITH expected AS (
    SELECT s.run_id, s.task_key, content.name, content.sha256
    FROM app.sbx_runs s
    CROSS JOIN LATERAL (
        SELECT 'stdout.log', encode(sha256(convert_to(s.response ->> 'stdout', 'UTF8')), 'hex')
        UNION ALL
        SELECT 'stderr.log', encode(sha256(convert_to(s.response ->> 'stderr', 'UTF8')), 'hex')
        UNION ALL
        SELECT 'metrics.json', encode(sha256(convert_to(
            format('{"cpuMs":%s,"memPeakMB":%s,"wallMs":%s}',
                s.metrics ->> 'cpuMs', s.metrics ->> 'memPeakMB', s.metrics ->> 'wallMs'), 'UTF8')), 'hex')
        UNION ALL
        SELECT 'files/' || (file ->> 'path'), file ->> 'sha256'
        FROM jsonb_array_elements(s.response -> 'filesOut') AS f (file)
    ) AS content (name, sha256)
    WHERE s.step_id = 'ExecuteST'
)
SELECT a.run_id, a.task_key, a.uri, 'stored with ' || a.sha256 || ', the result has ' || s.sha256 AS detail
FROM app.artifacts a
JOIN expected s ON s.run_id = a.run_id AND s.task_key = a.task_key
    AND a.uri = 'artifact://run/' || s.run_id || '/step/ExecuteST/task/' || s.task_key || '/' || s.name
WHERE a.step_id = 'ExecuteST' AND a.sha256 <> s.sha256
ORDER BY a.uri
