-- insert --
-- Insert an intent. Equal content has the same id, so a repetition inserts nothing.
INSERT INTO app.intents (id, goal, payload, submitted_by, form_fields)
VALUES (%(id)s, %(goal)s, %(payload)s, %(submitted_by)s, %(form_fields)s)
ON CONFLICT (id) DO NOTHING
RETURNING id

-- get --
-- One intent.
SELECT id, goal, payload, created_at FROM app.intents WHERE id = %(id)s

-- form_fields --
-- The fields of the form in an intent's constraints, in order.
SELECT form_fields FROM app.intents WHERE id = %(id)s

-- recipes --
-- All versions of all recipes.
SELECT id, name, version, queue_name, max_concurrency, max_steps, max_sandbox_minutes, hash, policy_id, push_remote, net
FROM app.recipes ORDER BY name, version

-- record_submission --
-- Record a person (null if no token was required) who submitted an intent or started its run, each once. What is
-- recorded already waits for no lock.
INSERT INTO app.submissions (intent_id, action, person, channel)
SELECT %(id)s, %(action)s, %(person)s::text, %(channel)s
WHERE NOT EXISTS (
    SELECT FROM app.submissions made WHERE made.intent_id = %(id)s AND made.action = %(action)s
    AND made.person IS NOT DISTINCT FROM %(person)s::text)
ON CONFLICT DO NOTHING
