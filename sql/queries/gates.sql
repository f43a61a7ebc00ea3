-- open --
-- Open a gate, once. Its deadline counts from now.
INSERT INTO app.human_gates (run_id, gate_key, step_id, purpose, topic, plan_sha256, on_timeout, form, deadline_at)
VALUES (%(run_id)s, %(gate_key)s, %(step_id)s, %(purpose)s, %(topic)s, %(plan_sha256)s, %(on_timeout)s, %(form)s,
    clock_timestamp() + make_interval(secs => %(ttl_s)s::float))
ON CONFLICT (run_id, gate_key) DO NOTHING
RETURNING gate_key

-- of_run --
-- A run's gates, in the order they opened.
SELECT * FROM app.human_gates WHERE run_id = %(run_id)s ORDER BY created_at, gate_key

-- get --
-- One gate of a run.
SELECT * FROM app.human_gates WHERE run_id = %(run_id)s AND gate_key = %(gate_key)s

-- decide --
-- Record a decision. The first one is final.
INSERT INTO app.plan_approvals (run_id, decision, decided_by, notes, plan_sha256, channel, approvers)
VALUES (%(run_id)s, %(decision)s, %(decided_by)s, %(notes)s, %(plan_sha256)s, %(channel)s, %(approvers)s)
ON CONFLICT (run_id) DO NOTHING
RETURNING *

-- decision --
-- The decision on a run's plan, if any.
SELECT * FROM app.plan_approvals WHERE run_id = %(run_id)s

-- situation --
-- Everything a decision on a plan depends on. The caller has locked the run's row, so it cannot change meanwhile.
SELECT made.run_id IS NOT NULL AS is_decided, gate.plan_sha256 AS compiled_sha256, edited.plan_sha256 AS edited_sha256,
       coalesce(gate.deadline_at <= clock_timestamp(), false) AS is_over,
       EXISTS (SELECT FROM app.plan_rounds round WHERE round.run_id = run.id AND round.outcome = 'planning') AS is_planning,
       earlier.payload_hash AS recorded_hash, earlier.kind AS recorded_kind
FROM app.runs run
LEFT JOIN app.plan_approvals made ON made.run_id = run.id
LEFT JOIN app.human_gates gate ON gate.run_id = run.id AND gate.purpose = 'approve-plan'
LEFT JOIN app.human_interactions earlier
    ON earlier.run_id = run.id AND earlier.gate_key = %(gate_key)s AND earlier.dedupe_key = %(dedupe_key)s
LEFT JOIN LATERAL (
    SELECT plan_sha256 FROM app.plan_versions WHERE run_id = run.id ORDER BY version DESC LIMIT 1
) edited ON true
WHERE run.id = %(run_id)s

-- decide_batch --
-- Record simple decisions and their ledger entries in one statement. A decision is simple if one approval by any
-- approver suffices and the person is one, the gate is open, its deadline has not passed, its plan is the compiled one and the one that was
-- read, no changes were requested, and the run is undecided. A concurrent decision is a conflict that excludes this one. For a decided run, the
-- recorded decision is returned, unless the request has a dedupe key of its own or names another plan. No row is
-- returned for other requests, and for runs whose row is locked: these are decided one at a time.
WITH word AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(words)s) AS word(
        run_id text, gate_key text, decision text, actor text, notes text, plan_sha256 text, dedupe_key text,
        has_own_key boolean, kind text, payload jsonb, payload_hash text, channel text)
), waiting AS MATERIALIZED (
    SELECT word.*, gate.plan_sha256 AS gate_sha256
    FROM word
    JOIN app.runs run ON run.id = word.run_id
    JOIN app.human_gates gate ON gate.run_id = run.id AND gate.gate_key = word.gate_key
    WHERE run.status IN ('queued', 'running', 'waiting_input', 'repairing')
      AND run.approval_rules @> '{"approvals": 1, "selfApproval": true}'
      AND NOT run.approval_rules ?| ARRAY['approvers', 'namedApprovers']
      AND (NOT EXISTS (SELECT FROM access.api_tokens) AND NOT EXISTS (SELECT FROM access.people)
          OR EXISTS (SELECT FROM access.api_tokens token WHERE token.owner = word.actor
              AND token.revoked_at IS NULL AND 'approver' = ANY(token.roles))
          OR EXISTS (SELECT FROM access.people person WHERE person.name = word.actor
              AND 'approver' = ANY(person.roles)))
      AND (gate.deadline_at IS NULL OR gate.deadline_at > clock_timestamp())
      AND gate.plan_sha256 = coalesce(word.plan_sha256, gate.plan_sha256)
      AND NOT EXISTS (SELECT FROM app.plan_approvals made WHERE made.run_id = run.id)
      AND NOT EXISTS (SELECT FROM app.plan_versions edited WHERE edited.run_id = run.id)
      AND NOT EXISTS (SELECT FROM app.change_requests request WHERE request.run_id = run.id)
      AND NOT EXISTS (SELECT FROM app.human_interactions earlier
          WHERE earlier.run_id = run.id AND earlier.gate_key = gate.gate_key AND earlier.dedupe_key = word.dedupe_key)
    FOR NO KEY UPDATE OF run SKIP LOCKED
), decided AS (
    INSERT INTO app.plan_approvals (run_id, decision, decided_by, notes, plan_sha256, channel, approvers)
    SELECT run_id, decision, actor, notes, gate_sha256, channel,
        CASE decision WHEN 'approved' THEN ARRAY[actor] ELSE '{}' END FROM waiting
    ON CONFLICT (run_id) DO NOTHING
    RETURNING run_id, decision, decided_by, decided_at, notes, plan_sha256, channel, record, approvers
), recorded AS (
    INSERT INTO app.human_interactions (
        run_id, gate_key, dedupe_key, kind, actor, plan_sha256, payload, payload_hash, channel)
    SELECT run_id, gate_key, dedupe_key, kind, actor, gate_sha256, payload, payload_hash, channel
    FROM waiting WHERE run_id IN (SELECT run_id FROM decided)
)
SELECT * FROM decided
UNION ALL
SELECT made.run_id, made.decision, made.decided_by, made.decided_at, made.notes, made.plan_sha256, made.channel,
    made.record, made.approvers
FROM word JOIN app.plan_approvals made ON made.run_id = word.run_id
WHERE NOT word.has_own_key AND (word.plan_sha256 IS NULL OR word.plan_sha256 = made.plan_sha256)

-- store_answer --
-- Record the answer at an ask gate; null if the deadline passed without one. The first one is final.
INSERT INTO app.gate_answers (run_id, gate_key, answer, answered_by)
VALUES (%(run_id)s, %(gate_key)s, %(answer)s, %(answered_by)s)
ON CONFLICT (run_id, gate_key) DO NOTHING
RETURNING *

-- answer --
-- The answer at an ask gate, if any.
SELECT * FROM app.gate_answers WHERE run_id = %(run_id)s AND gate_key = %(gate_key)s

-- waiting --
-- Undecided gates of runs that have not ended, the nearest deadline first; without those whose plan is being changed.
-- A list shows the beginning of a long goal.
SELECT gate.run_id, gate.gate_key, gate.purpose, gate.created_at, gate.deadline_at, gate.on_timeout, gate.form,
       gate.plan_sha256, run.workflow_id, run.status, run.tenant_id, intent.form_fields,
       CASE WHEN octet_length(intent.goal) > 8000 THEN left(intent.goal, 1999) || '…' ELSE intent.goal END AS goal,
       (run.approval_rules ->> 'approvals')::int AS approvals_required,
       coalesce(edited.plan_sha256, gate.plan_sha256) AS current_sha256
FROM app.runs run
JOIN app.human_gates gate ON gate.run_id = run.id
JOIN app.intents intent ON intent.id = run.intent_id
LEFT JOIN LATERAL (
    SELECT plan_sha256 FROM app.plan_versions WHERE run_id = run.id ORDER BY version DESC LIMIT 1
) edited ON true
WHERE run.status IN ('queued', 'running', 'waiting_input', 'repairing')
  AND CASE gate.purpose
      WHEN 'approve-plan' THEN run.next_action IS DISTINCT FROM 'PLAN'
          AND NOT EXISTS (SELECT FROM app.plan_approvals made WHERE made.run_id = run.id)
      ELSE NOT EXISTS (
          SELECT FROM app.gate_answers made WHERE made.run_id = run.id AND made.gate_key = gate.gate_key)
      END
ORDER BY gate.deadline_at NULLS LAST, gate.created_at, gate.run_id
LIMIT %(limit)s

-- count_waiting --
-- The number of the same gates, at most `limit`.
SELECT count(*) AS gates FROM (
    SELECT FROM app.runs run
    JOIN app.human_gates gate ON gate.run_id = run.id
    WHERE run.status IN ('queued', 'running', 'waiting_input', 'repairing')
      AND CASE gate.purpose
          WHEN 'approve-plan' THEN run.next_action IS DISTINCT FROM 'PLAN'
              AND NOT EXISTS (SELECT FROM app.plan_approvals made WHERE made.run_id = run.id)
          ELSE NOT EXISTS (
              SELECT FROM app.gate_answers made WHERE made.run_id = run.id AND made.gate_key = gate.gate_key)
          END
    LIMIT %(limit)s) AS waiting
