-- A decision has the channel of deadlines exactly if the deadline made it.
-- source: docs/human-gate.md, The record of a decision
SELECT run_id, decision || ' by ' || decided_by || ', channel ' || channel AS detail
FROM app.plan_approvals
WHERE (channel = 'deadline') <> (decided_by = 'sisu:deadline')
ORDER BY run_id
