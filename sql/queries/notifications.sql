-- lead --
-- Try to become the one process that sends notifications; the lock is held until the session ends.
SELECT pg_try_advisory_lock(hashtextextended('sisu notifications', 0)) AS leads

-- is_led --
-- Whether a process holds that lock.
SELECT EXISTS (
    SELECT FROM pg_locks, hashtextextended('sisu notifications', 0) AS key
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((classid::bigint << 32) | objid::bigint) = key
) AS is_led

-- remember_receiver --
-- Store which events a receiver of the file gets.
INSERT INTO app.notification_receivers (name, events, recipes, groups, partitions, tenants, remind_before)
VALUES (%(name)s, %(events)s, %(recipes)s, %(groups)s, %(partitions)s, %(tenants)s,
    make_interval(mins => %(reminder_minutes)s))
ON CONFLICT (name) DO UPDATE
SET events = excluded.events, recipes = excluded.recipes, groups = excluded.groups, partitions = excluded.partitions,
    tenants = excluded.tenants, remind_before = excluded.remind_before, removed_at = NULL

-- remove_receivers --
-- Mark the receivers that the file no longer names.
UPDATE app.notification_receivers SET removed_at = clock_timestamp()
WHERE removed_at IS NULL AND name <> ALL(%(names)s::text[])

-- drop_deliveries --
-- End the deliveries to receivers that were removed.
UPDATE app.notification_deliveries delivery SET state = 'dropped', ended_at = clock_timestamp()
FROM app.notification_receivers receiver
WHERE receiver.name = delivery.receiver AND receiver.removed_at IS NOT NULL AND delivery.ended_at IS NULL

-- release --
-- Make deliveries due again whose attempt no process makes any more, because the process that started it has ended.
-- After the last attempt, give up. `own` are those that this process is making, as `event receiver`.
UPDATE app.notification_deliveries
SET state = CASE WHEN attempts >= %(most_attempts)s THEN 'gave_up' ELSE 'waiting' END,
    ended_at = CASE WHEN attempts >= %(most_attempts)s THEN clock_timestamp() END,
    next_attempt_at = clock_timestamp(),
    last_error = 'the process ended during the attempt'
WHERE ended_at IS NULL AND state = 'sending' AND event_id || ' ' || receiver <> ALL(%(own)s::text[])

-- remind --
-- Add the reminders of gates that still wait, once per opening and lead time: the deadline is that near, and it was
-- farther away when the gate opened. Reads the gates by their deadlines, at most `limit` per lead time.
SELECT count(app.add_notification(
    due.run_id, 'gate.reminder', due.gate_key, due.opening || ' ' || lead.minutes, due.facts, lead.time)) AS reminders
FROM (SELECT DISTINCT remind_before AS time, extract(epoch FROM remind_before)::int / 60 AS minutes
      FROM app.notification_receivers
      WHERE removed_at IS NULL AND 'gate.reminder' = ANY(events)) AS lead
CROSS JOIN LATERAL (
    SELECT gate.run_id, gate.gate_key, app.gate_facts(gate) AS facts,
        app.gate_opening(gate.run_id, gate.gate_key) AS opening
    FROM app.human_gates gate
    WHERE gate.deadline_at > statement_timestamp() AND gate.deadline_at <= statement_timestamp() + lead.time
      AND gate.deadline_at - lead.time > coalesce(
          (SELECT max(opened.created_at) FROM app.notification_events opened
           WHERE opened.run_id = gate.run_id AND opened.kind = 'gate.opened' AND opened.gate_key = gate.gate_key),
          gate.created_at)
      AND NOT EXISTS (
          SELECT FROM app.notification_events sent
          WHERE sent.run_id = gate.run_id AND sent.kind = 'gate.reminder' AND sent.gate_key = gate.gate_key
            AND sent.occurrence = app.gate_opening(gate.run_id, gate.gate_key) || ' ' || lead.minutes)
      AND app.gate_is_waiting(gate)
    ORDER BY gate.deadline_at LIMIT %(limit)s
) AS due

-- due_receivers --
-- The receivers to which a delivery is due.
SELECT receiver.name FROM app.notification_receivers receiver
WHERE receiver.removed_at IS NULL AND EXISTS (
    SELECT FROM app.notification_deliveries delivery
    WHERE delivery.receiver = receiver.name AND delivery.ended_at IS NULL AND delivery.state = 'waiting'
      AND delivery.next_attempt_at <= clock_timestamp())
ORDER BY receiver.name

-- take --
-- Start an attempt of the delivery to a receiver that is due first, and return its event with what its message names.
WITH taken AS (
    UPDATE app.notification_deliveries delivery SET state = 'sending', attempts = delivery.attempts + 1
    FROM (
        SELECT event_id FROM app.notification_deliveries
        WHERE receiver = %(receiver)s AND ended_at IS NULL AND state = 'waiting'
          AND next_attempt_at <= clock_timestamp()
        ORDER BY next_attempt_at, event_id LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE delivery.event_id = due.event_id AND delivery.receiver = %(receiver)s
    RETURNING delivery.event_id, delivery.receiver, delivery.attempts
)
SELECT taken.receiver, taken.attempts, event.id, event.kind, event.run_id, run.workflow_id,
    nullif(event.gate_key, '') AS gate_key, event.facts, event.created_at, left(intent.goal, 2000) AS goal,
    recipe.name AS recipe, run.queue_partition_key, run.tenant_id, gate.form ->> 'question' AS question,
    (run.approval_rules ->> 'approvals')::int AS approvals
FROM taken
JOIN app.notification_events event ON event.id = taken.event_id
JOIN app.runs run ON run.id = event.run_id
JOIN app.intents intent ON intent.id = run.intent_id
JOIN app.recipes recipe ON recipe.id = run.recipe_id
LEFT JOIN app.human_gates gate ON gate.run_id = event.run_id AND gate.gate_key = event.gate_key

-- finish --
-- Record how a delivery ended, unless another attempt has begun since.
UPDATE app.notification_deliveries
SET state = %(state)s, ended_at = clock_timestamp(), last_error = %(error)s
WHERE event_id = %(event_id)s AND receiver = %(receiver)s AND state = 'sending' AND attempts = %(attempts)s

-- postpone --
-- Record why an attempt failed and when to repeat it, unless another attempt has begun since.
UPDATE app.notification_deliveries
SET state = 'waiting', last_error = %(error)s,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(wait_s)s::float)
WHERE event_id = %(event_id)s AND receiver = %(receiver)s AND state = 'sending' AND attempts = %(attempts)s

-- receivers --
-- The receivers with their deliveries: how many wait and how many were given up, and how the last one ended.
SELECT receiver.name, receiver.events,
    (SELECT count(*) FROM app.notification_deliveries waiting
     WHERE waiting.receiver = receiver.name AND waiting.ended_at IS NULL) AS waiting,
    (SELECT count(*) FROM app.notification_deliveries failed
     WHERE failed.receiver = receiver.name AND failed.state IN ('refused', 'gave_up')) AS failed,
    (SELECT max(next.last_error) FROM app.notification_deliveries next
     WHERE next.receiver = receiver.name AND next.ended_at IS NULL) AS waiting_error,
    last.state AS last_state, last.ended_at AS last_ended_at, last.last_error
FROM app.notification_receivers receiver
LEFT JOIN LATERAL (
    SELECT state, ended_at, last_error FROM app.notification_deliveries ended
    WHERE ended.receiver = receiver.name AND ended.ended_at IS NOT NULL
    ORDER BY ended.ended_at DESC LIMIT 1
) last ON true
WHERE receiver.removed_at IS NULL
ORDER BY receiver.name
