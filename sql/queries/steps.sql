-- insert --
-- Insert a step's output, once.
INSERT INTO app.run_steps (run_id, step_id, attempt, phase, output, trace_id, started_at)
VALUES (%(run_id)s, %(step_id)s, %(attempt)s, %(phase)s, %(output)s::jsonb, %(trace_id)s, %(started_at)s)
ON CONFLICT (run_id, step_id, attempt) DO NOTHING
RETURNING step_id

-- create_parts --
-- Create a temporary table for the parts of a large output.
CREATE TEMPORARY TABLE output_parts (place int, part text)

-- copy_parts --
-- Copy the parts one at a time, so that the client never holds the whole text.
COPY output_parts (place, part) FROM STDIN

-- insert_parts --
-- Insert a step's output from its parts, once.
INSERT INTO app.run_steps (run_id, step_id, attempt, phase, output, trace_id, started_at)
SELECT %(run_id)s, %(step_id)s, %(attempt)s, %(phase)s, string_agg(part, '' ORDER BY place)::jsonb, %(trace_id)s,
    %(started_at)s
FROM output_parts
ON CONFLICT (run_id, step_id, attempt) DO NOTHING
RETURNING step_id

-- drop_parts --
-- Drop the temporary table.
DROP TABLE output_parts

-- latest --
-- A step's stored output, of its newest attempt.
SELECT output, attempt, started_at, finished_at FROM app.run_steps
WHERE run_id = %(run_id)s AND step_id = %(step_id)s
ORDER BY attempt DESC LIMIT 1

-- of_run --
-- All steps of a run in order, each with its newest attempt.
SELECT * FROM (
    SELECT DISTINCT ON (step_id) step_id, attempt, phase, output, trace_id, span_id, started_at, finished_at
    FROM app.run_steps WHERE run_id = %(run_id)s ORDER BY step_id, attempt DESC
) AS newest ORDER BY started_at, step_id

-- clock --
-- The database's time, so that times in one table come from one clock.
SELECT clock_timestamp() AS now
