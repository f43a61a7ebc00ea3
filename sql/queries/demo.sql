-- counts --
-- The number of a run's rows in each table.
SELECT 'app.runs' AS "table", count(*)::int AS rows, string_agg(status, ', ') AS note
FROM app.runs WHERE id = %(run_id)s
UNION ALL
SELECT 'app.run_steps', count(*), string_agg(step_id, ', ' ORDER BY started_at)
FROM app.run_steps WHERE run_id = %(run_id)s
UNION ALL
SELECT 'app.plan_approvals', count(*), string_agg(decision || ' by ' || decided_by, ', ')
FROM app.plan_approvals WHERE run_id = %(run_id)s
UNION ALL
SELECT 'app.sbx_runs', sum(rows), string_agg(err_code || ' ' || rows, ', ' ORDER BY err_code)
FROM (SELECT err_code, count(*)::int AS rows FROM app.sbx_runs WHERE run_id = %(run_id)s GROUP BY err_code) AS tasks
UNION ALL
SELECT 'app.artifacts', count(*), count(DISTINCT sha256) || ' different contents'
FROM app.artifacts WHERE run_id = %(run_id)s
UNION ALL
SELECT 'app.patch_history', count(*), string_agg(
    target_path || CASE WHEN rolled_back_at IS NULL THEN ' applied' ELSE ' applied, then rolled back' END, ', ')
FROM app.patch_history WHERE run_id = %(run_id)s
UNION ALL
SELECT 'app.mock_receipts', count(*), coalesce('executed at most ' || max(seen_count) || ' time(s)', '')
FROM app.mock_receipts WHERE run_id = %(run_id)s
UNION ALL
SELECT 'dbos.workflow_status', count(*), count(*) FILTER (WHERE queue_name = 'intentQ') || ' on intentQ, '
    || count(*) FILTER (WHERE queue_name = 'sbxQ') || ' on sbxQ'
FROM dbos.workflow_status
WHERE workflow_uuid IN (SELECT task_key FROM app.sbx_runs WHERE run_id = %(run_id)s)
   OR split_part(workflow_uuid, '/', 1) = (SELECT workflow_id FROM app.runs WHERE id = %(run_id)s)

-- tasks --
-- Each task of a run with its command and result.
SELECT request ->> 'cmd' AS command, err_code, (response ->> 'exit')::int AS exit, provider, response ->> 'stderr' AS stderr
FROM app.sbx_runs WHERE run_id = %(run_id)s ORDER BY position
