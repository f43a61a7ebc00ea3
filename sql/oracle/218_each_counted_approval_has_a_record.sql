-- A decision of people has one record per approval that it counts, of the plan that was decided on: the canonical JSON of
-- the approval with the channel and time of the person's own interaction.
-- source: docs/human-gate.md, The record of a decision
WITH decided AS (
    SELECT p.*, r.policy_id, g.gate_key FROM app.plan_approvals p
    JOIN app.runs r ON r.id = p.run_id
    JOIN app.human_gates g ON g.run_id = p.run_id AND g.purpose = 'approve-plan'
), counted AS (
    SELECT DISTINCT d.run_id, d.policy_id, person FROM decided d CROSS JOIN unnest(d.approvers) AS person
)
SELECT c.run_id, 'the approval of ' || c.person || ' has no record' AS detail
FROM counted c
LEFT JOIN app.approval_votes v USING (run_id, person)
WHERE v.run_id IS NULL AND c.policy_id <> 'before-policies'
UNION ALL
SELECT v.run_id, 'the approval of ' || v.person || ' is not counted'
FROM app.approval_votes v
JOIN app.plan_approvals p USING (run_id)
WHERE v.person <> ALL (p.approvers)
UNION ALL
SELECT v.run_id, 'recorded is ' || coalesce(v.record, 'nothing') || ', approved was ' || v.plan_sha256 || ' by '
    || v.person || ' at ' || v.voted_at
FROM app.approval_votes v
JOIN decided d USING (run_id)
LEFT JOIN app.complete_plans c ON c.run_id = v.run_id AND c.version = 1
WHERE v.plan_sha256 <> d.plan_sha256
   OR NOT EXISTS (
       SELECT FROM app.human_interactions given
       WHERE given.run_id = v.run_id AND given.gate_key = d.gate_key AND given.kind = 'approve'
         AND given.actor = v.person AND given.created_at = v.voted_at
         AND given.channel IS NOT DISTINCT FROM v.channel
         AND coalesce(given.plan_sha256, v.plan_sha256) = v.plan_sha256)
   OR (v.channel IS NULL) <> (v.record IS NULL)
   OR v.record <> '{"channel":' || to_json(v.channel)
        || ',"decidedAt":"' || to_char(v.voted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '","decision":"approved","deployment":"' || substring(v.record FROM '"deployment":"([^"]+)"')
        || '","gate":' || to_json(d.gate_key) || ',"person":' || to_json(v.person)
        || ',"planSha256":' || to_json(v.plan_sha256)
        || ',"policy":' || coalesce(c.policy, 'null') || ',"runId":' || to_json(v.run_id) || ',"v":1}'
ORDER BY run_id, detail
