-- latencies --
-- For each run: the seconds from submission to waiting, from decision to the start of DecideST, and from
-- decision to the end.
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
-- The number of these runs by status.
SELECT status, count(*) AS count FROM app.runs WHERE workflow_id = ANY(%(workflow_ids)s) GROUP BY status

-- failed_tasks --
-- The number of a run's failed tasks, and of all its tasks.
SELECT count(*) FILTER (WHERE err_code <> 'NONE') AS failed, count(*) AS total
FROM app.sbx_runs WHERE run_id = %(run_id)s

-- queue_rows --
-- The number of workflows that are queued or executing.
SELECT count(*) AS count FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING')

-- backends --
-- The number of connections to this database.
SELECT count(*) AS count FROM pg_stat_activity WHERE datname = current_database()

-- work_left --
-- How many tasks of a run have started, and in how many seconds the last of them ends (the mock knows how long
-- it takes).
SELECT count(*) AS started,
       coalesce(extract(epoch FROM max(m.started_at + m.duration_ms * interval '1 ms') - clock_timestamp()), 0)::float
           AS seconds
FROM app.mock_receipts m JOIN app.runs r ON r.id = m.run_id
WHERE r.workflow_id = %(workflow_id)s

-- clock --
-- The database's clock.
SELECT clock_timestamp() AS now

-- recovery --
-- In seconds after a worker's death at `killed_at`: when another worker took the run's segment over, when the
-- last task
-- ended, when the run succeeded; and how many of its tasks were executed more than once.
SELECT w.executor_id,
       extract(epoch FROM to_timestamp(w.started_at_epoch_ms / 1000.0) - %(killed_at)s)::float AS taken_over,
       extract(epoch FROM m.ended_at - %(killed_at)s)::float AS tasks_ended,
       extract(epoch FROM r.updated_at - %(killed_at)s)::float AS succeeded, m.tasks, m.repeated
FROM app.runs r
JOIN dbos.workflow_status w
    ON w.workflow_uuid = r.workflow_id || CASE WHEN r.segment = 1 THEN '' ELSE '/' || r.segment END
CROSS JOIN LATERAL (
    SELECT max(started_at + duration_ms * interval '1 ms') AS ended_at, count(*) AS tasks,
           count(*) FILTER (WHERE seen_count > 1) AS repeated
    FROM app.mock_receipts WHERE run_id = r.id) AS m
WHERE r.workflow_id = %(workflow_id)s

-- sandbox_tasks --
-- The tasks of these runs: results, how many are good, task keys with more than one, failed tries, seconds
-- from the first result to the last, the medians of a task's own time, and the mechanisms that enforce the
-- provider's limits.
SELECT count(*) AS results,
       count(*) FILTER (WHERE t.err_code = 'NONE') AS succeeded,
       count(*) - count(DISTINCT t.task_key) AS repeated,
       (SELECT count(*) FROM app.sbx_attempts a JOIN app.runs r ON r.id = a.run_id
        WHERE r.workflow_id = ANY(%(workflow_ids)s) AND a.err_code <> 'NONE') AS failed_tries,
       round(extract(epoch FROM max(t.created_at) - min(t.created_at)), 2)::float AS first_to_last_result_s,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY (t.response #>> '{raw,bootMs}')::int) AS median_boot_ms,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY (t.metrics ->> 'wallMs')::int) AS median_wall_ms,
       jsonb_agg(DISTINCT t.response #> '{raw,limits}') AS limits
FROM app.sbx_runs t JOIN app.runs r ON r.id = t.run_id
WHERE r.workflow_id = ANY(%(workflow_ids)s)

-- base_of --
-- The commit that a run starts from.
SELECT b.address, b.subdirectory, b.commit_id AS commit, b.tree_id AS tree
FROM app.run_bases b JOIN app.runs r ON r.id = b.run_id WHERE r.workflow_id = %(workflow_id)s
