-- DecideST starts after the decision was recorded.
-- source: docs/architecture.md, Gate
SELECT s.run_id, 'started ' || s.started_at || ', decided ' || p.decided_at AS detail
FROM app.run_steps s
JOIN app.plan_approvals p ON p.run_id = s.run_id
WHERE s.step_id = 'DecideST' AND p.decided_at > s.started_at
ORDER BY s.run_id
