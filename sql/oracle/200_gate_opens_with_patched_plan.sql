-- The plan gate is opened once, in the transaction that commits ApplyPatchST, and its key is derived from the run.
-- source: docs/architecture.md, Gate
WITH gates AS (
    SELECT run_id, min(gate_key) AS gate_key, count(*) AS opened
    FROM app.human_gates
    WHERE step_id = 'ApplyPatchST' AND purpose = 'approve-plan'
    GROUP BY run_id
), patched AS (
    SELECT run_id FROM app.run_steps WHERE step_id = 'ApplyPatchST' GROUP BY run_id
), judged AS (
    SELECT coalesce(p.run_id, g.run_id) AS run_id, p.run_id IS NOT NULL AS is_patched, g.gate_key,
        coalesce(g.opened, 0) AS opened
    FROM patched p
    FULL JOIN gates g USING (run_id)
)
SELECT run_id, gate_key,
    CASE WHEN NOT is_patched THEN 'the gate is open, and ApplyPatchST has no row'
         WHEN opened <> 1 THEN 'ApplyPatchST has a row, and ' || opened || ' plan gates are open'
         ELSE 'the key is not the one of this run' END AS detail
FROM judged
WHERE NOT is_patched
   OR opened <> 1
   OR gate_key <> 'approve-plan-' || left(
        encode(sha256(convert_to(run_id || ':ApplyPatchST:approve-plan:1', 'UTF8')), 'hex'), 16)
ORDER BY run_id
