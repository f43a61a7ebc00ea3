-- artifacts --
-- A run's artifacts in a fixed order; content only of a step's own, and only when it lies in the row.
SELECT step_id, task_key, kind, uri, size_bytes, sha256,
       CASE WHEN task_key = '' AND size_bytes <= %(inline_limit)s THEN inline END AS inline
FROM app.artifacts
WHERE run_id = %(run_id)s ORDER BY step_id, task_key, idx LIMIT %(limit)s

-- tasks --
-- How far a run's fan-out is. `total` is null before DecideST: it counts what `build_tasks` makes of the decision.
SELECT (SELECT greatest(1, (SELECT count(DISTINCT test) FROM jsonb_array_elements_text(tests) AS test))
        FROM (SELECT output #> '{structured,tests}' AS tests FROM app.run_steps
              WHERE run_id = %(run_id)s AND step_id = 'DecideST' ORDER BY attempt DESC LIMIT 1) AS decision) AS total,
       count(*) AS finished, count(*) FILTER (WHERE err_code <> 'NONE') AS failed
FROM app.sbx_runs WHERE run_id = %(run_id)s AND step_id = 'ExecuteST'

-- active --
-- The newest runs that are worked on or about to be, with what they are for; those at a gate are in the inbox itself.
SELECT run.*, intent.goal FROM app.runs run JOIN app.intents intent ON intent.id = run.intent_id
WHERE run.status IN ('running', 'repairing', 'queued')
ORDER BY array_position(ARRAY['running', 'repairing', 'queued'], run.status), run.updated_at DESC, run.id
LIMIT %(limit)s

-- finished --
-- The runs that ended last, with what they were for.
SELECT run.*, intent.goal FROM app.runs run JOIN app.intents intent ON intent.id = run.intent_id
WHERE run.status IN ('succeeded', 'failed', 'canceled', 'retries_exceeded')
ORDER BY run.updated_at DESC, run.id
LIMIT %(limit)s
