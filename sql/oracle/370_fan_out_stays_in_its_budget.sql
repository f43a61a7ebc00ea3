-- A run executes no more tasks than its budget's maxFanout.
-- source: reference §B5
SELECT r.id AS run_id, count(*) || ' tasks, the budget allows ' || (r.budget ->> 'maxFanout') AS detail
FROM app.runs r
JOIN app.sbx_current s ON s.run_id = r.id
WHERE r.budget ? 'maxFanout'
GROUP BY r.id
HAVING count(*) > (r.budget ->> 'maxFanout')::int
ORDER BY r.id
