-- ExecuteST is committed only when every task of the decided fan-out has a result.
-- source: docs/architecture.md, Fan-out
WITH due AS (
    SELECT d.run_id, (
        SELECT greatest(count(DISTINCT test), 1)
        FROM jsonb_array_elements_text(d.output #> '{structured,tests}') AS t (test)
    ) AS tasks
    FROM app.run_steps d
    WHERE d.step_id = 'DecideST'
), kept AS (
    SELECT run_id, count(*) AS tasks FROM app.sbx_current GROUP BY run_id
)
SELECT e.run_id, coalesce(k.tasks, 0) || ' of ' || d.tasks || ' tasks have a result' AS detail
FROM (SELECT DISTINCT run_id FROM app.run_steps WHERE step_id = 'ExecuteST') e
JOIN due d USING (run_id)
LEFT JOIN kept k USING (run_id)
WHERE coalesce(k.tasks, 0) <> d.tasks
ORDER BY e.run_id
