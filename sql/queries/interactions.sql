-- append --
-- Append an interaction to the ledger of a gate, once per dedupe key.
INSERT INTO app.human_interactions (run_id, gate_key, dedupe_key, kind, actor, plan_sha256, payload, payload_hash, channel)
VALUES (%(run_id)s, %(gate_key)s, %(dedupe_key)s, %(kind)s, %(actor)s, %(plan_sha256)s, %(payload)s,
    %(payload_hash)s, %(channel)s)
ON CONFLICT (run_id, gate_key, dedupe_key) DO NOTHING
RETURNING *

-- get --
-- The interaction with a dedupe key.
SELECT * FROM app.human_interactions
WHERE run_id = %(run_id)s AND gate_key = %(gate_key)s AND dedupe_key = %(dedupe_key)s

-- vote --
-- A person's first approval of this plan at this gate.
SELECT * FROM app.human_interactions
WHERE run_id = %(run_id)s AND gate_key = %(gate_key)s AND kind = 'approve' AND plan_sha256 = %(plan_sha256)s
  AND actor = %(actor)s
ORDER BY created_at LIMIT 1

-- history --
-- Who did what to a run, when, why and by which channel, in order. A run's own status changes follow what caused them.
SELECT at, event, person, channel, reason, plan_sha256 FROM app.run_history WHERE run_id = %(run_id)s
ORDER BY at, event LIMIT %(limit)s

-- of_run --
-- The interactions at a run's gates, in order.
SELECT gate_key, dedupe_key, kind, actor, plan_sha256, payload, payload_hash, channel, created_at
FROM app.human_interactions WHERE run_id = %(run_id)s ORDER BY created_at, dedupe_key LIMIT %(limit)s
