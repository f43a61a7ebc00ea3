-- open --
-- Open a gate, once.
INSERT INTO app.human_gates (run_id, gate_key, step_id, purpose, topic, plan_sha256)
VALUES (%(run_id)s, %(gate_key)s, %(step_id)s, %(purpose)s, %(topic)s, %(plan_sha256)s)
ON CONFLICT (run_id, gate_key) DO NOTHING
RETURNING gate_key

-- of_run --
-- A run's gates, in the order they opened.
SELECT * FROM app.human_gates WHERE run_id = %(run_id)s ORDER BY created_at, gate_key

-- decide --
-- Record a decision; the first one wins.
INSERT INTO app.plan_approvals (run_id, decision, decided_by, notes, plan_sha256)
VALUES (%(run_id)s, %(decision)s, %(decided_by)s, %(notes)s, %(plan_sha256)s)
ON CONFLICT (run_id) DO NOTHING
RETURNING *

-- decision --
-- The decision on a run's plan, if there is one.
SELECT * FROM app.plan_approvals WHERE run_id = %(run_id)s
