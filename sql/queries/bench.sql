-- latencies --
-- Of each run: seconds from submission to waiting, decision to DecideST's start, decision to the end.
SELECT r.id, r.status,
       extract(epoch FROM g.created_at - r.created_at) AS submit_to_waiting,
       extract(epoch FROM d.started_at - a.decided_at) AS approve_to_decide,
       extract(epoch FROM r.updated_at - a.decided_at) AS approve_to_end
FROM app.runs r
LEFT JOIN app.human_gates g ON g.run_id = r.id
LEFT JOIN app.plan_approvals a ON a.run_id = r.id
LEFT JOIN app.run_steps d ON d.run_id = r.id AND d.step_id = 'DecideST'
WHERE r.workflow_id = ANY(%(workflow_ids)s)
ORDER BY r.created_at

-- statuses --
-- How many of these runs are in each state.
SELECT status, count(*) AS count FROM app.runs WHERE workflow_id = ANY(%(workflow_ids)s) GROUP BY status

-- failed_tasks --
-- How many of a run's tasks ended badly, of how many.
SELECT count(*) FILTER (WHERE err_code <> 'NONE') AS failed, count(*) AS total
FROM app.sbx_runs WHERE run_id = %(run_id)s

-- queue_rows --
-- Queue workflows that wait or run now.
SELECT count(*) AS count FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING')

-- backends --
-- Connections to this database.
SELECT count(*) AS count FROM pg_stat_activity WHERE datname = current_database()
