-- ExecuteST's output lists exactly the results stored before its commit, in fan-out order, each with the error
-- code of its row.
-- source: docs/architecture.md, Fan-out
WITH executed AS (
    SELECT DISTINCT ON (run_id) run_id, output
    FROM app.run_steps
    WHERE step_id = 'ExecuteST'
    ORDER BY run_id, attempt DESC
), listed AS (
    SELECT e.run_id, t.place - 1 AS position, t.task ->> 'taskKey' AS task_key, t.task ->> 'errCode' AS err_code,
        (t.task ->> 'exit')::int AS exit, (t.task ->> 'attempt')::int AS attempt
    FROM executed e, jsonb_array_elements(e.output #> '{raw,tasks}') WITH ORDINALITY AS t (task, place)
), kept AS (
    SELECT run_id, position, task_key, err_code, (response ->> 'exit')::int AS exit, attempt FROM app.sbx_merged
)
SELECT run_id, task_key,
    CASE WHEN l.position IS NULL THEN 'a result that ExecuteST does not list'
         WHEN k.position IS NULL THEN 'ExecuteST lists it, and it has no result'
         ELSE format('listed: place %s, %s, exit %s, attempt %s; kept: place %s, %s, exit %s, attempt %s',
            l.position, l.err_code, l.exit, l.attempt, k.position, k.err_code, k.exit, k.attempt) END AS detail
FROM listed l
FULL JOIN kept k USING (run_id, task_key)
WHERE (l.position, l.err_code, l.exit, l.attempt) IS DISTINCT FROM (k.position, k.err_code, k.exit, k.attempt)
ORDER BY run_id, task_key
