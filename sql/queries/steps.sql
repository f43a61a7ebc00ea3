-- insert --
-- Keep a step's output, once.
INSERT INTO app.run_steps (run_id, step_id, attempt, phase, output, trace_id, started_at)
VALUES (%(run_id)s, %(step_id)s, %(attempt)s, %(phase)s, %(output)s::jsonb, %(trace_id)s, %(started_at)s)
ON CONFLICT (run_id, step_id, attempt) DO NOTHING
RETURNING step_id

-- create_parts --
-- Where the parts of a large output wait for the last of them.
CREATE TEMPORARY TABLE output_parts (place int, part text)

-- copy_parts --
-- Send the parts, one at a time: the sender never holds the whole text.
COPY output_parts (place, part) FROM STDIN

-- insert_parts --
-- Keep a step's output, once, whose parts have been sent.
INSERT INTO app.run_steps (run_id, step_id, attempt, phase, output, trace_id, started_at)
SELECT %(run_id)s, %(step_id)s, %(attempt)s, %(phase)s, string_agg(part, '' ORDER BY place)::jsonb, %(trace_id)s,
    %(started_at)s
FROM output_parts
ON CONFLICT (run_id, step_id, attempt) DO NOTHING
RETURNING step_id

-- drop_parts --
-- The parts are in their place.
DROP TABLE output_parts

-- latest --
-- A step's stored output: the newest attempt.
SELECT output, attempt, started_at, finished_at FROM app.run_steps
WHERE run_id = %(run_id)s AND step_id = %(step_id)s
ORDER BY attempt DESC LIMIT 1

-- of_run --
-- Every step of a run, newest attempt of each, in the order they ran.
SELECT * FROM (
    SELECT DISTINCT ON (step_id) step_id, attempt, phase, output, trace_id, span_id, started_at, finished_at
    FROM app.run_steps WHERE run_id = %(run_id)s ORDER BY step_id, attempt DESC
) AS newest ORDER BY started_at, step_id

-- clock --
-- The database's time, so that times in one table come from one clock.
SELECT clock_timestamp() AS now
