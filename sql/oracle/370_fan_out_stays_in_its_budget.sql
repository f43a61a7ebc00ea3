-- A run has at most maxFanout tasks, if its budget sets a limit.
-- source: docs/architecture.md, Fan-out
SELECT r.id AS run_id, count(*) || ' tasks, the budget allows ' || (r.budget ->> 'maxFanout') AS detail
FROM app.runs r
JOIN app.sbx_current s ON s.run_id = r.id
WHERE r.budget ? 'maxFanout'
GROUP BY r.id
HAVING count(*) > (r.budget ->> 'maxFanout')::int
ORDER BY r.id
