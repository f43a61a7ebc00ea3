-- duplicate_tasks --
-- The seed's L08 in a number: task keys with more than one result.
SELECT count(*) AS count FROM (
    SELECT task_key FROM app.sbx_runs GROUP BY task_key HAVING count(*) > 1) AS duplicates

-- repeated_receipts --
-- The seed's L13 in a number: tasks that the provider executed more than once.
SELECT count(*) AS count FROM app.mock_receipts WHERE seen_count > 1

-- of_run --
-- A run's state for a lab: status, steps with their attempts, tasks, receipts.
SELECT r.id, r.status, r.error, r.segment,
       (SELECT coalesce(jsonb_object_agg(s.step_id, s.attempt), '{}') FROM app.run_steps s WHERE s.run_id = r.id) AS steps,
       (SELECT count(*) FROM app.run_steps s WHERE s.run_id = r.id) AS step_rows,
       (SELECT count(*) FROM app.sbx_runs t WHERE t.run_id = r.id) AS tasks,
       (SELECT count(*) FROM app.mock_receipts m WHERE m.run_id = r.id) AS receipts,
       (SELECT count(*) FROM app.mock_receipts m WHERE m.run_id = r.id AND m.seen_count > 1) AS repeated,
       (SELECT count(*) FROM app.patch_history p WHERE p.run_id = r.id AND p.rolled_back_at IS NULL) AS patches_left,
       r.closed_at IS NOT NULL AS is_closed, extract(epoch FROM r.updated_at - r.created_at)::float AS seconds
FROM app.runs r WHERE r.workflow_id = %(workflow_id)s

-- executor --
-- Which worker executes an intent's segment now: the executor id holds its process id.
SELECT executor_id FROM dbos.workflow_status
WHERE status = 'PENDING' AND queue_name = 'intentQ' AND split_part(workflow_uuid, '/', 1) = %(workflow_id)s
ORDER BY created_at DESC LIMIT 1

-- task_executors --
-- Which workers execute tasks of a run now, and how many of each.
SELECT w.executor_id, count(*) AS tasks FROM dbos.workflow_status w
WHERE w.status = 'PENDING' AND w.queue_name = 'sbxQ' GROUP BY w.executor_id ORDER BY 2 DESC

-- durations --
-- From each run's start to its end, in seconds.
SELECT extract(epoch FROM updated_at - created_at)::float AS seconds
FROM app.runs WHERE workflow_id = ANY(%(workflow_ids)s) AND status = 'succeeded' ORDER BY 1
