-- Once the plan gate is open, the decision on the plan names the hash of a plan.
-- source: docs/human-gate.md, What an approval covers
SELECT p.run_id, g.gate_key, p.decision || ' by ' || p.decided_by || ' about no plan' AS detail
FROM app.plan_approvals p
JOIN app.human_gates g ON g.run_id = p.run_id AND g.purpose = 'approve-plan'
WHERE p.plan_sha256 IS NULL
ORDER BY p.run_id
