-- insert --
-- Insert artifacts, each once. The parameters are arrays of equal length.
INSERT INTO app.artifacts (run_id, step_id, task_key, idx, attempt, kind, uri, inline, size_bytes, sha256)
SELECT * FROM unnest(
    %(run_id)s::text[], %(step_id)s::text[], %(task_key)s::text[], %(idx)s::int[], %(attempt)s::int[],
    %(kind)s::text[], %(uri)s::text[], %(inline)s::jsonb[], %(size_bytes)s::bigint[], %(sha256)s::text[])
ON CONFLICT (run_id, step_id, task_key, idx) DO NOTHING

-- diverging --
-- The given artifacts (arrays of equal length) that are stored with another hash or address.
SELECT stored.uri FROM unnest(
    %(run_id)s::text[], %(step_id)s::text[], %(task_key)s::text[], %(idx)s::int[],
    %(uri)s::text[], %(sha256)s::text[]) AS offered (run_id, step_id, task_key, idx, uri, sha256)
JOIN app.artifacts stored USING (run_id, step_id, task_key, idx)
WHERE stored.sha256 <> offered.sha256 OR stored.uri <> offered.uri
ORDER BY stored.uri

-- by_uri --
-- One artifact by its address.
SELECT uri, kind, sha256, inline FROM app.artifacts WHERE uri = %(uri)s ORDER BY idx LIMIT 1

-- count_of_run --
-- The number of a run's artifacts.
SELECT count(*) AS count FROM app.artifacts WHERE run_id = %(run_id)s

-- of_run --
-- A run's artifacts in a fixed order, with the content of a step's own artifacts if it is stored in the row.
SELECT step_id, task_key, kind, uri, size_bytes, sha256,
       CASE WHEN task_key = '' AND size_bytes <= %(inline_limit)s THEN inline END AS inline
FROM app.artifacts
WHERE run_id = %(run_id)s ORDER BY step_id, task_key, idx LIMIT %(limit)s
