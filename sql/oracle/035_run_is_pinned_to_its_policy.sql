-- A run keeps the version and hash of its recipe's policy from its start, and its rules are those of that version or
-- stricter: an intent's constraints never widen a policy.
-- source: docs/human-gate.md, Who must approve
SELECT r.id AS run_id, r.policy_id || '@' || r.policy_version AS policy,
    'the run has ' || r.policy_sha256 || ' ' || r.approval_rules || ', the policy says ' || coalesce(p.document, '-')
    AS detail
FROM app.runs r
LEFT JOIN app.policies p ON p.id = r.policy_id AND p.version = r.policy_version
WHERE r.policy_sha256 IS DISTINCT FROM p.sha256
   OR (r.approval_rules ->> 'approvals')::int < (p.content ->> 'approvals')::int
   OR ((r.approval_rules ->> 'selfApproval')::boolean AND NOT (p.content ->> 'selfApproval')::boolean)
   OR ((r.approval_rules ->> 'deadlineMayApprove')::boolean AND NOT (p.content ->> 'deadlineMayApprove')::boolean)
   OR (r.approval_rules ->> 'longestDeadlineS')::int > (p.content ->> 'longestDeadlineS')::int
   OR r.approval_rules -> 'approvers' IS DISTINCT FROM p.content -> 'approvers'
   OR coalesce(r.approval_rules -> 'automaticApproval' <> coalesce(p.content -> 'automaticApproval', 'null'), false)
ORDER BY r.id
