-- append --
-- Keep pieces of live output (arrays of one length), in this order.
INSERT INTO app.task_output (run_id, task_key, position, kind, chunk)
SELECT run_id, task_key, position, kind, chunk
FROM unnest(%(run_id)s::text[], %(task_key)s::text[], %(position)s::int[], %(kind)s::text[], %(chunk)s::text[])
    WITH ORDINALITY AS said (run_id, task_key, position, kind, chunk, number)
ORDER BY number

-- announce --
-- Wake whoever watches one of these runs.
SELECT pg_notify('sisu_runs', run_id) FROM unnest(%(run_ids)s::text[]) AS run_id

-- trim --
-- Drop what everybody who watches has seen by now.
DELETE FROM app.task_output WHERE said_at < now() - interval '1 minute'

-- after --
-- What a run's tasks said after a piece one has seen (0: all that is there), at most so many pieces.
SELECT id, run_id, task_key, position, kind, chunk FROM app.task_output
WHERE run_id = %(run_id)s AND id > %(after)s ORDER BY id LIMIT %(limit)s
