-- append --
-- Insert pieces of live output in this order. The parameters are arrays of equal length.
INSERT INTO app.task_output (run_id, task_key, position, kind, chunk)
SELECT run_id, task_key, position, kind, chunk
FROM unnest(%(run_id)s::text[], %(task_key)s::text[], %(position)s::int[], %(kind)s::text[], %(chunk)s::text[])
    WITH ORDINALITY AS piece (run_id, task_key, position, kind, chunk, number)
ORDER BY number

-- announce --
-- Notify the watchers of these runs.
SELECT pg_notify('sisu_runs', run_id) FROM unnest(%(run_ids)s::text[]) AS run_id

-- trim --
-- Delete output older than a minute.
DELETE FROM app.task_output WHERE said_at < now() - interval '1 minute'

-- after --
-- A run's live output after a piece (0: from the first stored one), at most `limit` pieces.
SELECT id, run_id, task_key, position, kind, chunk FROM app.task_output
WHERE run_id = %(run_id)s AND id > %(after)s ORDER BY id LIMIT %(limit)s
