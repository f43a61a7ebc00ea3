-- The Dagster run of an intent that has not ended has not ended either. In the portable profile, a Dagster run succeeds
-- at the gate, and another one continues after the decision.
-- source: docs/architecture.md, Segments and recovery
-- needs: dagster.runs
SELECT r.id AS run_id, r.dagster_run_id, format('the run is %s, its Dagster run is %s', r.status, d.status) AS detail
FROM app.runs r
JOIN dagster.runs d ON d.run_id = r.dagster_run_id
WHERE (r.status IN ('queued', 'running', 'waiting_input', 'repairing') AND d.status IN ('FAILURE', 'CANCELED'))
   OR (r.status IN ('queued', 'running', 'repairing') AND d.status = 'SUCCESS')
ORDER BY r.id
