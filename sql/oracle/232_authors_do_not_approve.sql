-- Where self-approval is forbidden, every author is known, and none of them is among the people whose approvals the
-- decision counts: not a submitter of the intent, a person who started its run, or an editor of the plan. Where the
-- approval of people who requested changes is forbidden, none of them is among those people either. Locks order
-- submissions and decisions about one intent (app.order_submission), so their times do.
-- source: docs/human-gate.md, Who must approve
WITH forbidding AS (
    SELECT p.run_id, r.intent_id, p.approvers, p.decided_at
    FROM app.plan_approvals p
    JOIN app.runs r ON r.id = p.run_id
    WHERE p.decision = 'approved' AND p.decided_by !~ '^(sisu|policy):'
      AND NOT (r.approval_rules ->> 'selfApproval')::boolean
)
SELECT run_id, 'an author is unknown' AS detail
FROM forbidding f
WHERE NOT EXISTS (SELECT FROM app.submissions s WHERE s.intent_id = f.intent_id)
   OR EXISTS (SELECT FROM app.submissions s
       WHERE s.intent_id = f.intent_id AND s.person IS NULL AND s.created_at < f.decided_at)
UNION ALL
SELECT f.run_id, s.person || ' submitted and approved'
FROM forbidding f
JOIN app.submissions s
    ON s.intent_id = f.intent_id AND s.person = ANY(f.approvers) AND s.created_at < f.decided_at
UNION ALL
SELECT f.run_id, e.edited_by || ' edited and approved'
FROM forbidding f
JOIN app.plan_versions e ON e.run_id = f.run_id AND e.edited_by = ANY(f.approvers)
UNION ALL
SELECT p.run_id, c.requested_by || ' requested changes and approved'
FROM app.plan_approvals p
JOIN app.runs r ON r.id = p.run_id AND r.approval_rules ->> 'requesterApproval' = 'false'
JOIN app.change_requests c ON c.run_id = p.run_id AND c.requested_by = ANY(p.approvers)
WHERE p.decision = 'approved'
ORDER BY run_id, detail
