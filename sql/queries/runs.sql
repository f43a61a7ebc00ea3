-- insert --
-- Insert the run of an intent. An intent has one run, so a repetition inserts nothing. Without a policy, a trigger pins
-- the newest version of the recipe's policy.
INSERT INTO app.runs (
    id, intent_id, workflow_id, recipe_id, recipe_version, recipe_hash, queue_partition_key,
    priority, lane, tenant_id, trace_id, deduplication_id, task_key, budget, timeout_ms, app_version, submitted_by,
    policy_id, policy_version, policy_sha256, approval_rules)
VALUES (
    %(id)s, %(workflow_id)s, %(workflow_id)s, %(recipe_id)s, %(recipe_version)s, %(recipe_hash)s,
    %(queue_partition_key)s, %(priority)s, %(lane)s, %(tenant_id)s, %(trace_id)s,
    %(deduplication_id)s, %(task_key)s, %(budget)s, %(timeout_ms)s, %(app_version)s, %(submitted_by)s,
    %(policy_id)s, %(policy_version)s, %(policy_sha256)s, %(approval_rules)s)
ON CONFLICT (workflow_id) DO NOTHING
RETURNING id

-- get --
-- One run, by its run id or its workflow id.
SELECT * FROM app.runs WHERE id = %(id)s OR workflow_id = %(id)s

-- get_locked --
-- One run, its row locked until the transaction ends, so that a decision and a suspension see each other.
SELECT * FROM app.runs WHERE id = %(id)s OR workflow_id = %(id)s FOR UPDATE

-- page --
-- The newest runs, `limit` at most, older than the run `before` when it is given.
SELECT r.* FROM app.runs r
WHERE (%(status)s::text IS NULL OR r.status = %(status)s)
  AND (%(before)s::text IS NULL
       OR (r.created_at, r.id) < (SELECT b.created_at, b.id FROM app.runs b WHERE b.id = %(before)s))
ORDER BY r.created_at DESC, r.id DESC
LIMIT %(limit)s

-- move --
-- Change the status of a run from the one it was read with, and record who or what caused it. Only this function may; a
-- trigger refuses a transition that the state machine lacks.
SELECT * FROM app.move_run(
    %(id)s, %(current)s, %(status)s, %(error)s, %(next_action)s, %(segments)s, %(retries)s, %(cause)s)

-- set_next_action --
-- Record what a waiting run waits for, while its gate stays open.
UPDATE app.runs SET next_action = %(next_action)s WHERE id = %(id)s AND status = 'waiting_input'

-- count_segment --
-- Advance a run to its next segment: the previous one was executed and the run did not end.
UPDATE app.runs SET segment = segment + 1, requested_at = clock_timestamp() WHERE id = %(id)s RETURNING *

-- set_error --
-- Replace the error of a run, whose status stays.
UPDATE app.runs SET error = %(error)s WHERE id = %(id)s

-- set_last_step --
-- Record the last committed step.
UPDATE app.runs SET last_step = %(step_id)s WHERE id = %(id)s

-- claim --
-- Make a Dagster run the owner of this intent; no row if another one is.
UPDATE app.runs SET dagster_run_id = %(dagster_run_id)s
WHERE workflow_id = %(workflow_id)s AND (dagster_run_id IS NULL OR dagster_run_id = %(dagster_run_id)s)
RETURNING *

-- hand_over --
-- Portable profile: transfer the intent from the Dagster run that planned it to the one after the decision.
UPDATE app.runs SET dagster_run_id = %(dagster_run_id)s
WHERE workflow_id = %(workflow_id)s AND status = 'waiting_input'
RETURNING *

-- unrequested --
-- The outbox: runs that have not been requested from Dagster. Partitions take turns; in a partition, retries of runs that
-- were started before come first, then the most urgent ones. `most_starts` of a partition start per `period_s`; null: any
-- number. Reads the index one partition after another, so that a long backlog of one costs no more than a short one.
WITH RECURSIVE partitions AS (
    SELECT min(queue_partition_key) AS key FROM app.runs
    WHERE status IN ('queued', 'repairing') AND dagster_run_id IS NULL
    UNION ALL
    SELECT (SELECT min(queue_partition_key) FROM app.runs
            WHERE status IN ('queued', 'repairing') AND dagster_run_id IS NULL AND queue_partition_key > partitions.key)
    FROM partitions WHERE partitions.key IS NOT NULL
)
SELECT next.id, next.workflow_id, next.recipe_id, next.lane, next.retry_count
FROM partitions
CROSS JOIN LATERAL (
    SELECT %(most_starts)s::int - count(*) AS starts FROM app.runs made
    WHERE %(most_starts)s::int IS NOT NULL AND made.queue_partition_key = partitions.key
      AND made.started_at > clock_timestamp() - make_interval(secs => %(period_s)s::float)
) AS allowed
CROSS JOIN LATERAL (
    SELECT r.*, row_number() OVER (ORDER BY r.started_at IS NULL, r.priority, r.created_at, r.id) AS turn,
        count(*) FILTER (WHERE r.started_at IS NULL)
            OVER (ORDER BY r.started_at IS NULL, r.priority, r.created_at, r.id) AS new_start
    FROM app.runs r
    WHERE r.status IN ('queued', 'repairing') AND r.dagster_run_id IS NULL AND r.queue_partition_key = partitions.key
      AND (r.requested_at IS NULL OR r.requested_at < clock_timestamp() - interval '10 seconds')
    ORDER BY r.started_at IS NULL, r.priority, r.created_at, r.id
    LIMIT %(limit)s
) AS next
WHERE next.started_at IS NOT NULL OR allowed.starts IS NULL OR next.new_start <= allowed.starts
ORDER BY next.turn, next.priority, next.created_at, next.id
LIMIT %(limit)s

-- decided --
-- Runs with a decision or answer that has not been acted on: the run waits at a passed gate and its next segment was not
-- enqueued, or the decision was not reported to Dagster. Scans all waiting runs.
SELECT id FROM app.runs r
WHERE r.status = 'waiting_input'
  AND (r.requested_at IS NULL OR r.requested_at < clock_timestamp() - interval '60 seconds')
  AND CASE r.next_action
      WHEN 'ANSWER' THEN EXISTS (SELECT FROM app.gate_answers answered WHERE answered.run_id = r.id)
      WHEN 'PLAN' THEN r.last_step IS NULL AND EXISTS (SELECT FROM app.opencode_calls settled
          WHERE settled.run_id = r.id AND settled.attempt = r.retry_count + 1 AND settled.is_final)
      ELSE EXISTS (SELECT FROM app.plan_approvals made WHERE made.run_id = r.id) END
UNION
SELECT run_id FROM app.plan_approvals WHERE reported_at IS NULL
LIMIT %(limit)s

-- decided_on --
-- Decisions and answers on these runs that have not been acted on: the next segment has to be enqueued (`waits`), the
-- decision has to be reported to Dagster (`unreported`). Partitions take turns; of each, the oldest decision is first.
SELECT * FROM (
    SELECT r.workflow_id, r.id, r.segment, r.next_action, r.dagster_run_id, r.queue_partition_key, r.priority,
           r.app_version, made.decision, made.decided_by, made.decided_at, made.notes, made.plan_sha256,
           r.status = 'waiting_input'
               AND (r.requested_at IS NULL OR r.requested_at < clock_timestamp() - interval '60 seconds')
               AND CASE r.next_action
                   WHEN 'ANSWER' THEN EXISTS (SELECT FROM app.gate_answers answered WHERE answered.run_id = r.id)
                   WHEN 'PLAN' THEN r.last_step IS NULL AND EXISTS (SELECT FROM app.opencode_calls settled
                       WHERE settled.run_id = r.id AND settled.attempt = r.retry_count + 1 AND settled.is_final)
                   ELSE made.run_id IS NOT NULL END AS waits,
           made.run_id IS NOT NULL AND made.reported_at IS NULL AS unreported
    FROM app.runs r LEFT JOIN app.plan_approvals made ON made.run_id = r.id
    WHERE r.id = ANY(%(run_ids)s)
) AS decided
WHERE waits OR unreported
ORDER BY NOT waits, row_number() OVER (PARTITION BY queue_partition_key, waits ORDER BY decided_at NULLS LAST, id),
    decided_at NULLS LAST, id
LIMIT %(limit)s

-- mark_reported --
-- Record that these decisions were reported to Dagster.
UPDATE app.plan_approvals SET reported_at = clock_timestamp() WHERE run_id = ANY(%(run_ids)s)

-- count_by_status --
-- The number of runs by status, shown with the depth of the queues.
SELECT status, count(*) AS runs, min(created_at) AS oldest_created_at FROM app.runs GROUP BY status ORDER BY status

-- mark_requested --
-- Record that the next segment of these runs was enqueued. Recovery enqueues it again if it is lost.
UPDATE app.runs SET requested_at = clock_timestamp() WHERE workflow_id = ANY(%(workflow_ids)s)

-- mark_started --
-- Record that the Dagster run of these runs was requested, and when that happened for the first time.
UPDATE app.runs SET requested_at = clock_timestamp(), started_at = coalesce(started_at, clock_timestamp())
WHERE workflow_id = ANY(%(workflow_ids)s)

-- to_clean_up --
-- Canceled runs that have not been cleaned up, the oldest first.
SELECT id, workflow_id, dagster_run_id, error FROM app.runs
WHERE status = 'canceled' AND closed_at IS NULL
ORDER BY updated_at, id LIMIT %(limit)s

-- mark_cleaned_up --
-- Record that a canceled run has been cleaned up.
UPDATE app.runs SET closed_at = clock_timestamp() WHERE id = %(id)s AND closed_at IS NULL

-- canceled_lately --
-- Runs canceled in the last hour, for workers that missed the notification.
SELECT id FROM app.runs WHERE status = 'canceled' AND updated_at > now() - interval '1 hour'

-- timed_out --
-- Runs that have not ended within their `timeoutMS`, the oldest first. The time between submission and end counts, waiting
-- included, by the database's clock.
SELECT id FROM app.runs
WHERE timeout_ms IS NOT NULL AND status IN ('queued', 'running', 'waiting_input', 'repairing')
  AND clock_timestamp() - created_at >= make_interval(secs => timeout_ms / 1000.0)
ORDER BY created_at, id LIMIT %(limit)s

-- active --
-- The newest queued and running runs with the beginning of their goal, and those whose plan a coding agent makes. Runs at a gate are
-- listed by their gates.
SELECT run.*, CASE WHEN octet_length(intent.goal) > 8000 THEN left(intent.goal, 1999) || '…' ELSE intent.goal END AS goal
FROM app.runs run JOIN app.intents intent ON intent.id = run.intent_id
WHERE run.status IN ('running', 'repairing', 'queued') OR (run.status = 'waiting_input' AND run.next_action = 'PLAN')
ORDER BY array_position(ARRAY['running', 'waiting_input', 'repairing', 'queued'], run.status), run.updated_at DESC, run.id
LIMIT %(limit)s

-- count_active --
-- The number of the same runs, at most `limit`.
SELECT count(*) AS runs FROM (
    SELECT FROM app.runs
    WHERE status IN ('running', 'repairing', 'queued') OR (status = 'waiting_input' AND next_action = 'PLAN')
    LIMIT %(limit)s) AS active

-- finished --
-- The runs that ended last, with the beginning of their goal.
SELECT run.*, CASE WHEN octet_length(intent.goal) > 8000 THEN left(intent.goal, 1999) || '…' ELSE intent.goal END AS goal
FROM app.runs run JOIN app.intents intent ON intent.id = run.intent_id
WHERE run.status IN ('succeeded', 'failed', 'canceled', 'retries_exceeded')
ORDER BY run.updated_at DESC, run.id
LIMIT %(limit)s
