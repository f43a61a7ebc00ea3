-- insert_results --
-- Insert final task results, each once. The parameters are arrays of equal length.
INSERT INTO app.sbx_runs (
    run_id, step_id, task_key, attempt, position, provider, request, response, err_code, metrics, retry)
SELECT asked.*, (SELECT retry_count FROM app.runs WHERE id = asked.run_id) FROM unnest(
    %(run_id)s::text[], %(step_id)s::text[], %(task_key)s::text[], %(attempt)s::int[], %(position)s::int[],
    %(provider)s::text[], %(request)s::jsonb[], %(response)s::jsonb[], %(err_code)s::text[], %(metrics)s::jsonb[])
    AS asked (run_id, step_id, task_key, attempt, position, provider, request, response, err_code, metrics)
ON CONFLICT (run_id, step_id, task_key) DO NOTHING
RETURNING task_key

-- insert_attempts --
-- Insert attempts, one row each.
INSERT INTO app.sbx_attempts (run_id, step_id, task_key, attempt, err_code, detail)
SELECT * FROM unnest(
    %(run_id)s::text[], %(step_id)s::text[], %(task_key)s::text[], %(attempt)s::int[],
    %(err_code)s::text[], %(detail)s::text[])
ON CONFLICT (run_id, step_id, task_key, attempt) DO NOTHING

-- stored_request --
-- The stored request of a task key, to compare a repeated one with.
SELECT request FROM app.sbx_runs WHERE run_id = %(run_id)s AND step_id = 'ExecuteST' AND task_key = %(task_key)s

-- results --
-- A run's task results in fan-out order, the newest of each position.
SELECT task_key, attempt, position, retry, request->>'cmd' AS command, response, err_code, metrics
FROM app.sbx_current WHERE run_id = %(run_id)s ORDER BY position

-- template --
-- The prebuilt sandbox template of a recipe version, if one is registered.
SELECT template_key, template_id FROM app.sbx_templates
WHERE recipe_id = %(recipe_id)s AND recipe_version = %(recipe_version)s AND deps_hash = %(deps_hash)s

-- durations --
-- The number of a run's failed tasks, and the duration of each task (ms) in fan-out order.
SELECT count(*) FILTER (WHERE err_code <> 'NONE') AS failed,
    coalesce(array_agg((metrics->>'wallMs')::int ORDER BY position), '{}') AS wall_ms
FROM app.sbx_current WHERE run_id = %(run_id)s

-- finished_positions --
-- The positions of a run's fan-out with a final result, as ranges. A failure before the current retry does not count:
-- its position is executed again.
SELECT coalesce(range_agg(int4range(s.position, s.position + 1)), '{}') AS positions
FROM app.sbx_runs s JOIN app.runs r ON r.id = s.run_id
WHERE s.run_id = %(run_id)s AND s.step_id = 'ExecuteST' AND (s.err_code = 'NONE' OR s.retry = r.retry_count)

-- failures_before --
-- The number of failures of each position before this retry, which is part of the next task's key.
SELECT position, count(*) AS failures FROM app.sbx_runs
WHERE run_id = %(run_id)s AND step_id = 'ExecuteST' AND retry < %(retry)s AND err_code <> 'NONE'
GROUP BY position

-- tries_of --
-- The number of earlier attempts of tasks (arrays of equal length).
SELECT asked.task_key, count(a.attempt) AS tries
FROM unnest(%(run_id)s::text[], %(task_key)s::text[]) AS asked (run_id, task_key)
LEFT JOIN app.sbx_attempts a
    ON a.run_id = asked.run_id AND a.step_id = 'ExecuteST' AND a.task_key = asked.task_key
GROUP BY asked.task_key

-- network --
-- Whether the recipe of a run permits its tasks the network; null leaves it to the deployment.
SELECT net FROM app.recipes WHERE id = %(recipe_id)s AND version = %(recipe_version)s

-- usage --
-- The usage of a run's fan-out: its longest task (ms), the size of its artifacts (bytes), the most attempts of a task.
SELECT coalesce(max((metrics->>'wallMs')::bigint), 0) AS longest_ms,
    coalesce(max(attempt), 1) AS most_attempts,
    coalesce(sum(
        octet_length(response->>'stdout') + octet_length(response->>'stderr')
        + octet_length(coalesce(response->'raw', '{}')::text) + octet_length(metrics::text)
        + (SELECT coalesce(sum(octet_length(coalesce(file->>'inline', file->>'uri', ''))), 0)
           FROM jsonb_array_elements(response->'filesOut') AS file)), 0)::bigint AS artifact_bytes
FROM app.sbx_current WHERE run_id = %(run_id)s

-- progress --
-- The progress of a run's fan-out. `total` is null before DecideST and otherwise the number of tasks of the decision.
SELECT (SELECT greatest(1, (SELECT count(DISTINCT test) FROM jsonb_array_elements_text(tests) AS test))
        FROM (SELECT output #> '{structured,tests}' AS tests FROM app.run_steps
              WHERE run_id = %(run_id)s AND step_id = 'DecideST' ORDER BY attempt DESC LIMIT 1) AS decision) AS total,
       count(*) AS finished, count(*) FILTER (WHERE err_code <> 'NONE') AS failed
FROM app.sbx_runs WHERE run_id = %(run_id)s AND step_id = 'ExecuteST'
