-- insert_results --
-- Keep final task results, many at once (arrays of one length), each once.
INSERT INTO app.sbx_runs (
    run_id, step_id, task_key, attempt, position, provider, request, response, err_code, metrics)
SELECT * FROM unnest(
    %(run_id)s::text[], %(step_id)s::text[], %(task_key)s::text[], %(attempt)s::int[], %(position)s::int[],
    %(provider)s::text[], %(request)s::jsonb[], %(response)s::jsonb[], %(err_code)s::text[], %(metrics)s::jsonb[])
ON CONFLICT (run_id, step_id, task_key) DO NOTHING
RETURNING task_key

-- insert_attempts --
-- Keep one row per try.
INSERT INTO app.sbx_attempts (run_id, step_id, task_key, attempt, err_code, detail)
SELECT * FROM unnest(
    %(run_id)s::text[], %(step_id)s::text[], %(task_key)s::text[], %(attempt)s::int[],
    %(err_code)s::text[], %(detail)s::text[])
ON CONFLICT (run_id, step_id, task_key, attempt) DO NOTHING

-- stored_requests --
-- What was asked under these keys, to compare with what is asked now.
SELECT task_key, request FROM app.sbx_runs
WHERE run_id = %(run_id)s AND step_id = 'ExecuteST' AND task_key = ANY(%(task_keys)s)

-- finished_count --
-- How many of a run's tasks have their final result.
SELECT count(*) AS count FROM app.sbx_runs WHERE run_id = %(run_id)s AND step_id = 'ExecuteST'

-- results --
-- A run's task results in fan-out order.
SELECT task_key, attempt, position, request->>'cmd' AS command, response, err_code, metrics FROM app.sbx_runs
WHERE run_id = %(run_id)s AND step_id = 'ExecuteST' ORDER BY position

-- template --
-- The prebuilt sandbox template of a recipe version, if one is registered.
SELECT template_key, template_id FROM app.sbx_templates
WHERE recipe_id = %(recipe_id)s AND recipe_version = %(recipe_version)s AND deps_hash = %(deps_hash)s

-- finished_positions --
-- Which places of a run's fan-out have their final result: what every waiting shard needs, in one query.
SELECT position FROM app.sbx_runs WHERE run_id = %(run_id)s AND step_id = 'ExecuteST'

-- tries_of --
-- How often tasks (arrays of one length) have been tried before.
SELECT asked.task_key, count(a.attempt) AS tries
FROM unnest(%(run_id)s::text[], %(task_key)s::text[]) AS asked (run_id, task_key)
LEFT JOIN app.sbx_attempts a
    ON a.run_id = asked.run_id AND a.step_id = 'ExecuteST' AND a.task_key = asked.task_key
GROUP BY asked.task_key
