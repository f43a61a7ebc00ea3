-- A policy approves a plan automatically only as the version that the run keeps, and only if that has such a rule. A
-- decision has the channel of policies exactly if a policy made it.
-- source: docs/human-gate.md, Automatic approval
SELECT p.run_id, p.decided_by || ' ' || p.decision || ', channel ' || coalesce(p.channel, '-') || '; the run has '
    || r.policy_id || '@' || r.policy_version AS detail
FROM app.plan_approvals p
JOIN app.runs r ON r.id = p.run_id
WHERE (coalesce(p.channel, '-') = 'policy') <> (p.decided_by LIKE 'policy:%')
   OR (p.decided_by LIKE 'policy:%' AND (
       p.decision <> 'approved' OR p.decided_by <> 'policy:' || r.policy_id || '@' || r.policy_version
       OR NOT r.approval_rules ? 'automaticApproval'))
ORDER BY p.run_id
