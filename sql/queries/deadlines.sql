-- due --
-- Undecided gates whose deadline has passed, the longest overdue first.
SELECT gate.run_id, gate.gate_key FROM app.human_gates gate
JOIN app.runs run ON run.id = gate.run_id
WHERE gate.deadline_at <= statement_timestamp()
  AND run.status IN ('queued', 'running', 'waiting_input', 'repairing')
  AND CASE gate.purpose
      WHEN 'approve-plan' THEN NOT EXISTS (SELECT FROM app.plan_approvals made WHERE made.run_id = gate.run_id)
      ELSE NOT EXISTS (
          SELECT FROM app.gate_answers made WHERE made.run_id = gate.run_id AND made.gate_key = gate.gate_key)
      END
ORDER BY gate.deadline_at, gate.run_id
LIMIT %(limit)s

-- is_over --
-- Whether a gate's deadline has passed, by the database's clock.
SELECT deadline_at IS NOT NULL AND deadline_at <= clock_timestamp() AS is_over FROM app.human_gates
WHERE run_id = %(run_id)s AND gate_key = %(gate_key)s

-- escalate --
-- Add a passed deadline to the outbox of the webhook. The deadline of a reopened gate replaces the one before it.
INSERT INTO app.escalations (run_id, gate_key, payload) VALUES (%(run_id)s, %(gate_key)s, %(payload)s)
ON CONFLICT (run_id, gate_key) DO UPDATE
SET payload = excluded.payload, attempts = 0, next_attempt_at = clock_timestamp(), delivered_at = NULL,
    gave_up_at = NULL, last_error = NULL, created_at = clock_timestamp()

-- passed --
-- How many deadlines of a gate have passed and were reopened.
SELECT count(*) AS passed FROM app.passed_deadlines WHERE run_id = %(run_id)s AND gate_key = %(gate_key)s

-- reopen --
-- Open the gates of a run again whose deadline passed with a rejection or without an answer; their number.
SELECT app.reopen_gates(%(run_id)s, %(person)s, %(reason)s, make_interval(secs => %(shortest_s)s::float),
    make_interval(secs => %(longest_s)s::float)) AS reopened

-- take --
-- Escalations that are due for delivery, locked until the transaction ends; concurrent deliveries skip them.
SELECT run_id, gate_key, payload, attempts FROM app.escalations
WHERE delivered_at IS NULL AND gave_up_at IS NULL AND next_attempt_at <= clock_timestamp()
  AND attempts < %(most_attempts)s
ORDER BY next_attempt_at, run_id LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- delivered --
-- Record a successful delivery.
UPDATE app.escalations SET delivered_at = clock_timestamp(), attempts = attempts + 1, last_error = NULL
WHERE run_id = %(run_id)s AND gate_key = %(gate_key)s

-- failed --
-- Record a failed delivery and when to repeat it.
UPDATE app.escalations
SET attempts = attempts + 1, last_error = %(error)s,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(wait_s)s::float)
WHERE run_id = %(run_id)s AND gate_key = %(gate_key)s

-- give_up --
-- Record that delivery ended without success.
UPDATE app.escalations SET attempts = attempts + 1, last_error = %(error)s, gave_up_at = clock_timestamp()
WHERE run_id = %(run_id)s AND gate_key = %(gate_key)s

-- last_refusal --
-- Why the message whose delivery ended last was given up; no row when it was delivered.
SELECT last_error FROM (
    SELECT last_error, gave_up_at FROM app.escalations
    WHERE delivered_at IS NOT NULL OR gave_up_at IS NOT NULL
    ORDER BY coalesce(delivered_at, gave_up_at) DESC LIMIT 1
) AS ended
WHERE gave_up_at IS NOT NULL
