-- A plan that people approved has the approvals of as many different people as the rules of its run require. Each of
-- them is among the approvers of the policy and those that the intent names.
-- source: docs/human-gate.md, Who must approve
WITH approved AS (
    SELECT p.run_id, p.approvers, r.approval_rules AS rules
    FROM app.plan_approvals p
    JOIN app.runs r ON r.id = p.run_id
    WHERE p.decision = 'approved' AND p.decided_by !~ '^(sisu|policy):'
), counted AS (
    SELECT a.*, person FROM approved a CROSS JOIN unnest(a.approvers) AS person
)
SELECT run_id, 'approved by ' || array_to_string(approvers, ', ') || ', required are ' || (rules ->> 'approvals') AS detail
FROM approved
WHERE (SELECT count(DISTINCT person) FROM unnest(approvers) AS person) < (rules ->> 'approvals')::int
UNION ALL
SELECT run_id, person || ' is not an approver'
FROM counted c
WHERE (rules ? 'namedApprovers' AND NOT rules -> 'namedApprovers' ? person)
   OR (rules ? 'approvers' AND NOT rules -> 'approvers' -> 'people' ? person AND NOT EXISTS (
       SELECT FROM (
           SELECT owner, groups FROM access.api_tokens
           UNION ALL
           SELECT name, groups FROM access.people
       ) AS known
       WHERE known.owner = c.person
         AND known.groups && ARRAY(SELECT jsonb_array_elements_text(c.rules -> 'approvers' -> 'groups'))))
ORDER BY run_id, detail
