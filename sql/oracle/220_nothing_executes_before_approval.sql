-- No task is attempted, executed or completed before the plan was approved.
-- source: docs/architecture.md, Gate
WITH executed AS (
    SELECT run_id, receipt_key AS task_key, started_at AS at, 'executed' AS what FROM app.mock_receipts
    UNION ALL
    SELECT run_id, task_key, finished_at, 'tried' FROM app.sbx_attempts
    UNION ALL
    SELECT run_id, task_key, created_at, 'answered' FROM app.sbx_runs
)
SELECT e.run_id, e.task_key,
    e.what || ' ' || e.at || ', ' || coalesce(p.decision || ' ' || p.decided_at, 'no decision') AS detail
FROM executed e
LEFT JOIN app.plan_approvals p ON p.run_id = e.run_id
WHERE p.decision IS DISTINCT FROM 'approved' OR e.at < p.decided_at
ORDER BY e.run_id, e.task_key
