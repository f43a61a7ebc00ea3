-- active_workflows --
-- The number of queue workflows that wait or run: none while every intent waits for approval.
SELECT count(*) AS count FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED')

-- unexpected_runs --
-- Of these runs, those that did not succeed with four steps and one result, receipt and execution per task.
SELECT r.workflow_id, r.status, s.steps, t.results, m.receipts, m.executions
FROM app.runs r
CROSS JOIN LATERAL (SELECT count(*) AS steps FROM app.run_steps WHERE run_id = r.id) AS s
CROSS JOIN LATERAL (SELECT count(*) AS results FROM app.sbx_runs WHERE run_id = r.id) AS t
CROSS JOIN LATERAL (
    SELECT count(*) AS receipts, coalesce(sum(seen_count), 0) AS executions
    FROM app.mock_receipts WHERE run_id = r.id) AS m
WHERE r.workflow_id = ANY(%(workflow_ids)s) AND (r.status, s.steps, t.results, m.receipts, m.executions)
    IS DISTINCT FROM ('succeeded', 4, %(tasks)s, %(tasks)s, %(tasks)s)
ORDER BY r.created_at
