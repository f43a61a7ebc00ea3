-- Each task that was executed for a plan with a setup found the layer that its run recorded, in the retry of the task or
-- before. What is recorded is the setup of the approved plan by the provider that the plan names.
-- source: docs/setups.md, What is recorded
WITH approved AS (
    SELECT c.run_id, c.head::jsonb ->> 'setup' AS setup, c.setup::jsonb ->> 'provider' AS provider
    FROM app.complete_plans c
    JOIN app.plan_approvals p
        ON p.run_id = c.run_id AND p.plan_sha256 = c.plan_sha256 AND p.decision = 'approved'
    WHERE c.version = (SELECT max(version) FROM app.complete_plans WHERE run_id = c.run_id)
)
SELECT u.run_id, '' AS task_key, 'recorded was the setup ' || u.setup_sha256 || ' by ' || u.provider
    || ', approved was ' || coalesce(a.setup || ' by ' || a.provider, 'none') AS detail
FROM app.run_setups u
LEFT JOIN approved a ON a.run_id = u.run_id
WHERE (u.setup_sha256, u.provider) IS DISTINCT FROM (a.setup, a.provider)
UNION ALL
SELECT s.run_id, s.task_key, 'the task found the layer ' || coalesce(s.response #>> '{raw,setup,layer}', 'none')
    || ', recorded is ' || coalesce(u.layer_sha256, 'none')
FROM app.sbx_runs s
JOIN approved a ON a.run_id = s.run_id AND a.setup IS NOT NULL
LEFT JOIN LATERAL (
    SELECT layer_sha256 FROM app.run_setups
    WHERE run_id = s.run_id AND retry <= s.retry AND outcome <> 'failed'
    ORDER BY retry DESC LIMIT 1
) u ON true
WHERE s.step_id = 'ExecuteST' AND NOT coalesce(s.response -> 'raw' ? 'refused', false)
    AND s.err_code IN ('NONE', 'CMD_NONZERO', 'TIMEOUT', 'OOM')
    AND (u.layer_sha256 IS NULL OR s.response #>> '{raw,setup,layer}' IS DISTINCT FROM u.layer_sha256)
ORDER BY run_id, task_key
