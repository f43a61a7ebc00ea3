-- A task with a result has its index, timings, raw evidence, stdout and stderr once each, one artifact per file it
-- wrote, and one about the start of its sandbox. A task without a result has no artifacts.
-- source: docs/architecture.md, Task results and artifacts
WITH kept AS (
    SELECT run_id, task_key,
        count(*) FILTER (WHERE kind = 'artifact_index') AS indexes,
        count(*) FILTER (WHERE kind = 'timings') AS timings,
        count(*) FILTER (WHERE kind = 'raw') AS raws,
        count(*) FILTER (WHERE kind = 'stdout') AS stdouts,
        count(*) FILTER (WHERE kind = 'stderr') AS stderrs,
        count(*) FILTER (WHERE kind = 'file') AS files,
        count(*) FILTER (WHERE kind = 'json_diagnostic') AS boots,
        count(*) AS total, max(idx) AS last
    FROM app.artifacts
    WHERE step_id = 'ExecuteST' AND task_key <> ''
    GROUP BY run_id, task_key
), due AS (
    SELECT run_id, task_key, jsonb_array_length(response -> 'filesOut') AS files,
        (response -> 'raw' ?| ARRAY['template', 'bootMs'])::int AS boots
    FROM app.sbx_runs
    WHERE step_id = 'ExecuteST'
)
SELECT run_id, task_key,
    CASE WHEN d.files IS NULL THEN k.total || ' artifacts of a task without a result'
         WHEN k.total IS NULL THEN 'no artifacts'
         ELSE format('%s artifacts up to place %s, %s of %s files', k.total, k.last, k.files, d.files) END AS detail
FROM due d
FULL JOIN kept k USING (run_id, task_key)
WHERE (k.indexes, k.timings, k.raws, k.stdouts, k.stderrs, k.files, k.boots, k.total, k.last)
    IS DISTINCT FROM (1, 1, 1, 1, 1, d.files, d.boots, 5 + d.files + d.boots, 4 + d.files + d.boots)
ORDER BY run_id, task_key
