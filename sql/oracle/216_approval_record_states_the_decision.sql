-- The record of a decision is the canonical JSON of the decision, its gate, plan, policy, person, channel and time.
-- Only decisions of release 0.2.0, which have no channel, have no record.
-- source: docs/human-gate.md, The record of a decision
SELECT p.run_id, 'recorded is ' || coalesce(p.record, 'nothing') || ', decided was ' || p.decision || ' by '
    || p.decided_by || ' at ' || p.decided_at || ' about ' || p.plan_sha256 AS detail
FROM app.plan_approvals p
LEFT JOIN app.human_gates g ON g.run_id = p.run_id AND g.purpose = 'approve-plan'
LEFT JOIN app.complete_plans c ON c.run_id = p.run_id AND c.version = 1
WHERE (p.record IS NOT NULL OR (p.channel IS NOT NULL AND g.run_id IS NOT NULL))
  AND (p.record IS NULL OR p.record IS DISTINCT FROM '{"channel":' || to_json(p.channel)
    || ',"decidedAt":"' || to_char(p.decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    || '","decision":' || to_json(p.decision)
    || ',"deployment":"' || substring(p.record FROM '"deployment":"([^"]+)"')
    || '","gate":' || coalesce(to_json(g.gate_key)::text, '"' || substring(p.record FROM '"gate":"([^"]+)"') || '"')
    || ',"person":' || to_json(p.decided_by)
    || ',"planSha256":' || to_json(p.plan_sha256)
    || ',"policy":' || CASE WHEN g.run_id IS NULL THEN substring(p.record FROM '"policy":(null|\{[^}]*\})')
        ELSE coalesce(c.policy, 'null') END
    || ',"runId":' || to_json(p.run_id) || ',"v":1}')
ORDER BY p.run_id
