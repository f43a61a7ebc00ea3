-- A plan gate records the hash of the plan that CompileST stored as its artifact.
-- source: docs/architecture.md, Gate
SELECT g.run_id, g.gate_key, 'the gate asks about ' || g.plan_sha256 || ', CompileST kept ' || a.sha256 AS detail
FROM app.human_gates g
JOIN app.artifacts a ON a.run_id = g.run_id AND a.step_id = 'CompileST' AND a.task_key = '' AND a.idx = 0
WHERE g.purpose = 'approve-plan' AND g.plan_sha256 <> a.sha256
ORDER BY g.run_id
