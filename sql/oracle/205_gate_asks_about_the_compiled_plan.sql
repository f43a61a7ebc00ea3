-- A plan gate records the hash of the compiled plan: of its complete plan or, for a run that release 0.2.0 compiled,
-- of CompileST's artifact.
-- source: docs/architecture.md, Gate
SELECT g.run_id, g.gate_key, 'the gate asks about ' || g.plan_sha256 || ', compiled was '
    || coalesce(c.plan_sha256, a.sha256) AS detail
FROM app.human_gates g
JOIN app.artifacts a ON a.run_id = g.run_id AND a.step_id = 'CompileST' AND a.task_key = '' AND a.idx = 0
LEFT JOIN app.complete_plans c ON c.run_id = g.run_id AND c.version = 1
WHERE g.purpose = 'approve-plan' AND g.plan_sha256 <> coalesce(c.plan_sha256, a.sha256)
ORDER BY g.run_id
