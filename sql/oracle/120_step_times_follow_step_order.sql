-- A step starts after the commit of the step before it and is committed after its own start, by the clock of the
-- database.
-- source: docs/architecture.md, Steps
WITH timed AS (
    SELECT run_id, step_id, started_at, finished_at,
        lag(step_id) OVER steps AS before_id, lag(finished_at) OVER steps AS before_finished_at
    FROM app.run_steps
    WINDOW steps AS (
        PARTITION BY run_id
        ORDER BY array_position(ARRAY['CompileST', 'ApplyPatchST', 'DecideST', 'ExecuteST'], step_id), attempt)
)
SELECT run_id, step_id,
    CASE WHEN finished_at < started_at THEN 'started ' || started_at || ', committed ' || finished_at
         ELSE 'started ' || started_at || ', but ' || before_id || ' was committed ' || before_finished_at END
        AS detail
FROM timed
WHERE finished_at < started_at OR started_at < before_finished_at
ORDER BY run_id, started_at
