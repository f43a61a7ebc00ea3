-- open_gates --
-- A page of the open gates that match, the nearest deadline first, from the gate after the cursor on, and the number of
-- all that match. `asked`: `me` and `team` are gates that people of these names or groups are asked about, `unassigned`
-- those that no one in particular is. `patterns` must all match. A list shows the beginning of a long goal.
WITH matching AS MATERIALIZED (
    SELECT gate.run_id, gate.gate_key, gate.due_at, gate.created_at FROM app.open_gates gate
    WHERE (%(patterns)s::text[] IS NULL OR EXISTS (
            SELECT FROM app.run_search indexed WHERE indexed.run_id = gate.run_id
            AND indexed.content LIKE ALL (ARRAY(SELECT lower(pattern) FROM unnest(%(patterns)s::text[]) AS pattern))))
      AND (%(tenant)s::text IS NULL OR gate.tenant_id = %(tenant)s)
      AND (%(due_within_s)s::int IS NULL
          OR gate.deadline_at <= clock_timestamp() + make_interval(secs => %(due_within_s)s::int))
      AND (%(asked)s::text IS NULL OR EXISTS (
            SELECT FROM app.asked WHERE asked.run_id = gate.run_id AND CASE %(asked)s::text
                WHEN 'unassigned' THEN cardinality(asked.people) + cardinality(asked.groups) = 0
                ELSE asked.people && %(names)s::text[] OR asked.groups && %(groups)s::text[] END))
), page AS (
    SELECT * FROM matching
    WHERE %(run_id)s::text IS NULL OR (due_at, created_at, run_id, gate_key)
        > (%(due_at)s::timestamptz, %(created_at)s::timestamptz, %(run_id)s::text, %(gate_key)s::text)
    ORDER BY due_at, created_at, run_id, gate_key
    LIMIT %(limit)s
)
SELECT gate.run_id, gate.gate_key, gate.purpose, gate.created_at, gate.deadline_at, gate.on_timeout, gate.form,
       gate.plan_sha256, run.workflow_id, run.status, run.tenant_id, intent.form_fields,
       recipe.name || '@' || recipe.version AS recipe,
       CASE WHEN octet_length(intent.goal) > 8000 THEN left(intent.goal, 1999) || '…' ELSE intent.goal END AS goal,
       (run.approval_rules ->> 'approvals')::int AS approvals_required,
       coalesce(edited.plan_sha256, gate.plan_sha256) AS current_sha256,
       ARRAY(SELECT DISTINCT made.person FROM app.submissions made
             WHERE made.intent_id = run.intent_id AND made.person IS NOT NULL) AS submitters,
       asked.people AS asked_people, asked.groups AS asked_groups, asked.assigned_by, asked.assigned_at,
       ARRAY(SELECT DISTINCT substitute.delegate FROM app.delegations substitute
             WHERE substitute.person = ANY(asked.people) AND substitute.begins_at <= clock_timestamp()) AS delegates,
       (SELECT count(*) FROM matching) AS total
FROM page
JOIN app.human_gates gate ON gate.run_id = page.run_id AND gate.gate_key = page.gate_key
JOIN app.runs run ON run.id = page.run_id
JOIN app.asked ON asked.run_id = page.run_id
JOIN app.intents intent ON intent.id = run.intent_id
JOIN app.recipes recipe ON recipe.id = run.recipe_id
LEFT JOIN LATERAL (
    SELECT plan_sha256 FROM app.plan_versions WHERE run_id = gate.run_id ORDER BY version DESC LIMIT 1
) edited ON true
ORDER BY page.due_at, page.created_at, page.run_id, page.gate_key

-- names_of --
-- A person, and those who have delegated to them now.
SELECT %(person)s::text AS name
UNION
SELECT person FROM app.delegations WHERE delegate = %(person)s AND begins_at <= clock_timestamp()

-- colleagues --
-- The people who share a group with these, by their tokens or their last identification.
SELECT owner AS name FROM access.api_tokens WHERE revoked_at IS NULL AND groups && %(groups)s::text[]
UNION
SELECT name FROM access.people WHERE groups && %(groups)s::text[]

-- assignment --
-- Who the run is assigned to, if it was ever assigned.
SELECT * FROM app.run_assignments WHERE run_id = %(run_id)s ORDER BY number DESC LIMIT 1

-- assign --
-- Record who a run is assigned to from now on. The caller has locked the run's row.
INSERT INTO app.run_assignments (run_id, number, people, groups, reason, assigned_by, channel)
SELECT %(run_id)s, coalesce(max(number), 0) + 1, %(people)s, %(groups)s, %(reason)s, %(assigned_by)s, %(channel)s
FROM app.run_assignments WHERE run_id = %(run_id)s
ON CONFLICT (run_id, number) DO NOTHING
RETURNING *

-- delegate --
-- Record who substitutes for a person from now on; it replaces what was recorded before. No row: the absence would be
-- over when it begins.
INSERT INTO access.delegations (person, delegate, begins_at, ends_at, reason, recorded_by, channel)
SELECT %(person)s, %(delegate)s, times.begins_at, coalesce(%(ends_at)s, times.begins_at + interval '1 microsecond'),
    %(reason)s, %(recorded_by)s, %(channel)s
FROM (SELECT coalesce(%(begins_at)s, clock_timestamp()) AS begins_at) AS times
WHERE coalesce(%(ends_at)s > times.begins_at, true)
RETURNING *

-- delegations --
-- The delegations that count now or later, by person.
SELECT * FROM app.delegations ORDER BY person

-- history --
-- A page of the changes of all runs that match, the newest first, from the change after the cursor on. A list shows the
-- beginning of a goal. `patterns` must all match the text of the run.
SELECT event.run_id, event.at, event.event, event.person, event.channel, event.reason, event.plan_sha256,
       run.workflow_id, run.tenant_id, left(intent.goal, 200) AS goal
FROM app.run_history event
JOIN app.runs run ON run.id = event.run_id
JOIN app.intents intent ON intent.id = run.intent_id
WHERE (%(run_id)s::text IS NULL OR event.run_id = %(run_id)s)
  AND (%(person)s::text IS NULL OR event.person = %(person)s)
  AND (%(event)s::text IS NULL OR event.event = %(event)s)
  AND (%(tenant)s::text IS NULL OR run.tenant_id = %(tenant)s)
  AND (%(since)s::timestamptz IS NULL OR event.at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR event.at < %(until)s)
  AND (%(patterns)s::text[] IS NULL OR EXISTS (
        SELECT FROM app.run_search indexed WHERE indexed.run_id = event.run_id
        AND indexed.content LIKE ALL (ARRAY(SELECT lower(pattern) FROM unnest(%(patterns)s::text[]) AS pattern))))
  AND (%(at)s::timestamptz IS NULL OR (event.at, event.run_id, event.event, coalesce(event.person, ''))
        < (%(at)s::timestamptz, %(after_run)s::text, %(after_event)s::text, %(after_person)s::text))
ORDER BY event.at DESC, event.run_id DESC, event.event DESC, coalesce(event.person, '') DESC
LIMIT %(limit)s
