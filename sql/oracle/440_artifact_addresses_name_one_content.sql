-- An artifact's address names its run, step and task, and identifies one content. Two proposed patches of one file
-- may share an address.
-- source: docs/architecture.md, Task results and artifacts
WITH prefixed AS (
    SELECT run_id, step_id, task_key, kind, uri, sha256,
        'artifact://run/' || run_id || '/step/' || step_id || '/task/' || task_key || '/' AS prefix
    FROM app.artifacts
)
SELECT run_id, step_id, task_key, uri, 'an artifact of ' || prefix AS detail
FROM prefixed
WHERE NOT starts_with(uri, prefix) OR length(uri) = length(prefix)
UNION ALL
SELECT min(run_id), min(step_id), min(task_key), uri, count(*) || ' contents at this address'
FROM prefixed
WHERE kind <> 'patch'
GROUP BY uri
HAVING count(DISTINCT sha256) > 1
ORDER BY uri
