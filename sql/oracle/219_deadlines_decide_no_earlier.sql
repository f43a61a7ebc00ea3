-- A deadline decides after it has passed, by the clock of the database; so did each one that was reopened.
-- source: docs/human-gate.md, Deadlines
SELECT p.run_id, g.gate_key || ' was decided ' || p.decided_at || ', its deadline is ' || coalesce(g.deadline_at::text, 'none')
    AS detail
FROM app.plan_approvals p
JOIN app.human_gates g ON g.run_id = p.run_id AND g.purpose = 'approve-plan'
WHERE p.decided_by = 'sisu:deadline' AND (g.deadline_at IS NULL OR p.decided_at < g.deadline_at)
UNION ALL
SELECT a.run_id, a.gate_key || ' was closed ' || a.answered_at || ', its deadline is ' || coalesce(g.deadline_at::text, 'none')
FROM app.gate_answers a
JOIN app.human_gates g USING (run_id, gate_key)
WHERE a.answered_by = 'sisu:deadline' AND (g.deadline_at IS NULL OR a.answered_at < g.deadline_at)
UNION ALL
SELECT run_id, gate_key || ' was decided ' || decided_at || ', its deadline was ' || deadline_at
FROM app.passed_deadlines
WHERE decided_at < deadline_at
ORDER BY run_id, detail
