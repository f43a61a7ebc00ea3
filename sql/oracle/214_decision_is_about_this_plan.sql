-- If an approval names a plan, DecideST is committed only when that plan is the one at the gate: the compiled plan
-- or its newest edited version.
-- source: docs/architecture.md, Gate
SELECT s.run_id, 'approved was ' || p.plan_sha256 || ', the gate asks about ' || coalesce(c.plan_sha256, g.plan_sha256)
    AS detail
FROM app.run_steps s
JOIN app.plan_approvals p ON p.run_id = s.run_id
JOIN app.human_gates g ON g.run_id = s.run_id AND g.purpose = 'approve-plan'
LEFT JOIN app.current_plans c ON c.run_id = s.run_id
WHERE s.step_id = 'DecideST' AND p.plan_sha256 <> coalesce(c.plan_sha256, g.plan_sha256)
ORDER BY s.run_id
