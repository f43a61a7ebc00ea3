-- insert --
-- Insert the setup that the tasks of a run use in its current retry, once: the first worker's.
INSERT INTO app.run_setups (run_id, retry, setup_sha256, layer_sha256, provider, outcome, exit_code, wall_ms)
SELECT id, retry_count, %(setup_sha256)s, %(layer_sha256)s, %(provider)s, %(outcome)s, %(exit_code)s, %(wall_ms)s
FROM app.runs WHERE id = %(run_id)s
ON CONFLICT (run_id, retry) DO NOTHING

-- layer --
-- The layer that the tasks of a run use in its current retry.
SELECT s.layer_sha256 FROM app.run_setups s JOIN app.runs r ON r.id = s.run_id AND r.retry_count = s.retry
WHERE s.run_id = %(run_id)s
