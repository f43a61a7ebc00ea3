-- duplicate_tasks --
-- Lab L08: the number of task keys with more than one result.
SELECT count(*) AS count FROM (
    SELECT task_key FROM app.sbx_runs GROUP BY task_key HAVING count(*) > 1) AS duplicates

-- repeated_receipts --
-- Lab L13: the number of tasks that the provider executed more than once.
SELECT count(*) AS count FROM app.mock_receipts WHERE seen_count > 1

-- of_run --
-- A run's state for a lab: status, steps with their attempts, tasks, receipts.
SELECT r.id, r.status, r.error, r.segment, r.next_action,
       (SELECT coalesce(jsonb_object_agg(s.step_id, s.attempt), '{}') FROM app.run_steps s WHERE s.run_id = r.id) AS steps,
       (SELECT count(*) FROM app.run_steps s WHERE s.run_id = r.id) AS step_rows,
       (SELECT count(*) FROM app.sbx_runs t WHERE t.run_id = r.id) AS tasks,
       (SELECT count(*) FROM app.mock_receipts m WHERE m.run_id = r.id) AS receipts,
       (SELECT count(*) FROM app.mock_receipts m WHERE m.run_id = r.id AND m.seen_count > 1) AS repeated,
       (SELECT count(*) FROM app.patch_history p WHERE p.run_id = r.id AND p.rolled_back_at IS NULL) AS patches_left,
       r.closed_at IS NOT NULL AS is_closed, extract(epoch FROM r.updated_at - r.created_at)::float AS seconds
FROM app.runs r WHERE r.workflow_id = %(workflow_id)s

-- executor --
-- The executor id of the worker that executes an intent's segment now; it contains the process id.
SELECT executor_id FROM dbos.workflow_status
WHERE status = 'PENDING' AND queue_name = 'intentQ' AND split_part(workflow_uuid, '/', 1) = %(workflow_id)s
ORDER BY created_at DESC LIMIT 1

-- held_by --
-- Intents of which worker processes (their ids as text; null for all) hold a segment, a task or a question of a queue
-- (null for every queue): an executor's name is host-pid-random.
SELECT DISTINCT coalesce(w.parent_workflow_id, asked.workflow_id, split_part(w.workflow_uuid, '/', 1)) AS workflow_id
FROM dbos.workflow_status w
LEFT JOIN (SELECT q.op_key, r.workflow_id FROM app.plan_questions q JOIN app.runs r ON r.id = q.run_id) AS asked
    ON asked.op_key = w.workflow_uuid
WHERE w.status = 'PENDING' AND w.queue_name IN ('intentQ', 'sbxQ', 'compileQ')
  AND (%(queue)s::text IS NULL OR w.queue_name = %(queue)s)
  AND (%(pids)s::text[] IS NULL OR substring(w.executor_id FROM '-([0-9]+)-[0-9a-f]+$') = ANY(%(pids)s))

-- not_requested --
-- Intents whose next segment only the daemon can request: submitted or decided, with no request yet.
SELECT workflow_id FROM app.runs r
WHERE (r.status = 'queued' AND r.dagster_run_id IS NULL)
   OR (r.status = 'waiting_input' AND r.requested_at IS NULL
       AND EXISTS (SELECT FROM app.plan_approvals a WHERE a.run_id = r.id))

-- backends --
-- The sessions of this database but this one, the oldest first.
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
ORDER BY backend_start, pid

-- stack_backends --
-- The sessions of this database that belong to the stack, the oldest first: its processes name theirs.
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> ''
ORDER BY backend_start, pid

-- terminate --
-- End these sessions.
SELECT pg_terminate_backend(pid) AS ended FROM unnest(%(pids)s::int[]) AS chosen (pid)

-- ended_runs --
-- The number of runs that have ended.
SELECT count(*) AS count FROM app.runs WHERE status IN ('succeeded', 'failed', 'canceled', 'retries_exceeded')

-- unsettled --
-- What keeps a stream of intents from being over: runs that have not ended or are not cleaned up, Dagster's own that have
-- not, and queue workflows that no worker has finished. A Dagster run belongs to the intent whose run names it, without
-- one to that of its tag; it counts without both.
SELECT r.workflow_id, 'run ' || r.status || ', segment ' || r.segment || ', after ' || coalesce(r.last_step, 'nothing')
    AS place
FROM app.runs r
WHERE r.status NOT IN ('succeeded', 'failed', 'canceled', 'retries_exceeded')
   OR (r.status = 'canceled' AND r.closed_at IS NULL)
UNION ALL
SELECT coalesce(owned.workflow_id, t.value, 'no intent'), 'Dagster run ' || d.run_id || ' ' || d.status
FROM dagster.runs d
LEFT JOIN app.runs owned ON owned.dagster_run_id = d.run_id
LEFT JOIN dagster.run_tags t ON t.run_id = d.run_id AND t.key = 'dagster/partition'
WHERE d.status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')
UNION ALL
SELECT coalesce(w.parent_workflow_id, asked.workflow_id, split_part(w.workflow_uuid, '/', 1)),
       w.queue_name || ' ' || w.workflow_uuid || ' ' || w.status
FROM dbos.workflow_status w
LEFT JOIN (SELECT q.op_key, r.workflow_id FROM app.plan_questions q JOIN app.runs r ON r.id = q.run_id) AS asked
    ON asked.op_key = w.workflow_uuid
WHERE w.status IN ('ENQUEUED', 'DELAYED', 'PENDING')
ORDER BY 1, 2

-- every_run --
-- Each run for the verdict of chaos: its end, steps, tasks, attempts, executions and patches, its status in Dagster, and
-- what the ledger of the agent holds: questions, requests for changes, answers, the most answers of one question, and
-- the failures by question.
SELECT r.workflow_id, r.id, r.status, r.error, r.closed_at IS NOT NULL AS is_closed,
       coalesce(s.steps, ARRAY[]::text[]) AS steps, coalesce(t.tasks, 0) AS tasks, coalesce(t.bad, 0) AS bad_tasks,
       coalesce(m.receipts, 0) AS receipts, coalesce(m.repeated, 0) AS repeated,
       coalesce(p.applied, 0) AS patches_applied, coalesce(p.standing, 0) AS patches_standing,
       d.status AS dagster_status, r.retry_count, coalesce(q.questions, 0) AS questions,
       (SELECT count(*) FROM app.change_requests asked WHERE asked.run_id = r.id) AS requests,
       coalesce(c.answers, 0) AS answers, coalesce(c.most_answers, 0) AS most_answers,
       coalesce(c.failures, ARRAY[]::text[]) AS failures
FROM app.runs r
LEFT JOIN (SELECT run_id, count(*) AS questions FROM app.plan_questions GROUP BY run_id) q ON q.run_id = r.id
LEFT JOIN (SELECT run_id, sum(answers)::int AS answers, max(answers) AS most_answers,
                  array_agg(failures ORDER BY asked_at) AS failures
           FROM (SELECT run_id, min(created_at) AS asked_at, count(*) FILTER (WHERE outcome = 'answered') AS answers,
                        coalesce(string_agg(error ->> 'code', ' ' ORDER BY try), '') AS failures
                 FROM app.opencode_calls GROUP BY run_id, op_key) AS by_question
           GROUP BY run_id) c ON c.run_id = r.id
LEFT JOIN dagster.runs d ON d.run_id = r.dagster_run_id
LEFT JOIN (SELECT run_id, array_agg(step_id ORDER BY finished_at) AS steps FROM app.run_steps GROUP BY run_id) s
    ON s.run_id = r.id
LEFT JOIN (SELECT run_id, count(*) AS tasks, count(*) FILTER (WHERE err_code <> 'NONE') AS bad
           FROM app.sbx_runs GROUP BY run_id) t ON t.run_id = r.id
LEFT JOIN (SELECT run_id, count(*) AS receipts, count(*) FILTER (WHERE seen_count > 1) AS repeated
           FROM app.mock_receipts GROUP BY run_id) m ON m.run_id = r.id
LEFT JOIN (SELECT run_id, count(*) FILTER (WHERE applied_at IS NOT NULL) AS applied,
                  count(*) FILTER (WHERE rolled_back_at IS NULL) AS standing
           FROM app.patch_history GROUP BY run_id) p ON p.run_id = r.id
ORDER BY r.workflow_id

-- deadlines --
-- The seconds from each deadline to its decision, or to its missing answer; also of those that were reopened.
SELECT extract(epoch FROM decided_at - deadline_at)::float AS seconds FROM (
    SELECT made.decided_at, gate.deadline_at FROM app.plan_approvals made
    JOIN app.human_gates gate ON gate.run_id = made.run_id AND gate.purpose = 'approve-plan'
    WHERE made.decided_by = 'sisu:deadline'
    UNION ALL
    SELECT made.answered_at, gate.deadline_at FROM app.gate_answers made JOIN app.human_gates gate USING (run_id, gate_key)
    WHERE made.answered_by = 'sisu:deadline'
    UNION ALL
    SELECT decided_at, deadline_at FROM app.passed_deadlines) AS passed

-- progress_after --
-- For each fault and intent it struck (arrays of one length): the seconds until something of the intent was committed.
SELECT asked.fault, extract(epoch FROM min(seen.at) - asked.since)::float AS seconds
FROM unnest(%(fault)s::int[], %(workflow_id)s::text[], %(since)s::timestamptz[]) AS asked (fault, workflow_id, since)
JOIN app.runs r ON r.workflow_id = asked.workflow_id
CROSS JOIN LATERAL (
    SELECT finished_at AS at FROM app.run_steps WHERE run_id = r.id
    UNION ALL SELECT created_at FROM app.sbx_runs WHERE run_id = r.id
    UNION ALL SELECT finished_at FROM app.sbx_attempts WHERE run_id = r.id
    UNION ALL SELECT created_at FROM app.opencode_calls WHERE run_id = r.id
    UNION ALL SELECT updated_at FROM app.runs WHERE id = r.id) AS seen
WHERE seen.at > asked.since
GROUP BY asked.fault, asked.workflow_id, asked.since
ORDER BY 1, 2
