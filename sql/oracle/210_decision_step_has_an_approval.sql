-- DecideST is committed only in a run whose plan was approved.
-- source: docs/architecture.md, Gate
SELECT s.run_id, CASE WHEN p.run_id IS NULL THEN 'no decision' ELSE 'the plan was rejected' END AS detail
FROM app.run_steps s
LEFT JOIN app.plan_approvals p ON p.run_id = s.run_id
WHERE s.step_id = 'DecideST' AND p.decision IS DISTINCT FROM 'approved'
ORDER BY s.run_id
