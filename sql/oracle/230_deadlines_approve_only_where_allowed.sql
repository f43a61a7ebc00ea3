-- A deadline approves a plan only where the rules of the run allow it; no other name of the system approves.
-- source: docs/human-gate.md, Deadlines
SELECT p.run_id, p.decided_by || ' approved under ' || r.policy_id || '@' || r.policy_version AS detail
FROM app.plan_approvals p
JOIN app.runs r ON r.id = p.run_id
WHERE p.decision = 'approved' AND p.decided_by LIKE 'sisu:%'
  AND (p.decided_by <> 'sisu:deadline' OR NOT (r.approval_rules ->> 'deadlineMayApprove')::boolean)
ORDER BY p.run_id
