-- insert --
-- Keep an intent; the same content is the same id, so a repeat inserts nothing.
INSERT INTO app.intents (id, goal, payload, submitted_by)
VALUES (%(id)s, %(goal)s, %(payload)s, %(submitted_by)s)
ON CONFLICT (id) DO NOTHING
RETURNING id

-- get --
-- One intent.
SELECT id, goal, payload, created_at FROM app.intents WHERE id = %(id)s

-- recipes --
-- Every recipe version, for policy to choose from.
SELECT id, name, version, queue_name, max_concurrency, max_steps, max_sandbox_minutes, hash
FROM app.recipes ORDER BY name, version
