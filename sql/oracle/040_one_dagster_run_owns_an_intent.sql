-- A run that is executing, waiting or succeeded names the Dagster run that owns it, and a Dagster run owns one
-- intent.
-- source: docs/architecture.md, Identifiers
SELECT r.id AS run_id, r.dagster_run_id,
    CASE WHEN r.dagster_run_id IS NULL THEN 'it is ' || r.status || ', and no Dagster run owns it'
         ELSE 'this Dagster run owns other intents too' END AS detail
FROM app.runs r
WHERE (r.dagster_run_id IS NULL AND r.status IN ('running', 'waiting_input', 'succeeded'))
   OR r.dagster_run_id IN (
        SELECT dagster_run_id FROM app.runs
        WHERE dagster_run_id IS NOT NULL GROUP BY dagster_run_id HAVING count(*) > 1)
ORDER BY r.id
