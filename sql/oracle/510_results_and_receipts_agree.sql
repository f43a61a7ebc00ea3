-- The mock provider has a receipt for each result, and each receipt of a merged run has a result. Injected
-- infrastructure failures and refused requests execute nothing and have no receipt.
-- source: docs/architecture.md, Receipts
WITH executed AS (
    SELECT s.run_id, s.task_key
    FROM app.sbx_runs s
    WHERE s.step_id = 'ExecuteST' AND s.provider = 'mock' AND s.err_code IN ('NONE', 'CMD_NONZERO', 'TIMEOUT')
      AND NOT s.response -> 'raw' ? 'refused'
)
SELECT e.run_id, e.task_key, 'a result of the mock without a receipt of this run' AS detail
FROM executed e
LEFT JOIN app.mock_receipts m ON m.receipt_key = e.task_key AND m.run_id = e.run_id
WHERE m.receipt_key IS NULL
UNION ALL
SELECT m.run_id, m.receipt_key, 'executed, and the merged run has no result of it'
FROM app.mock_receipts m
JOIN app.run_steps x ON x.run_id = m.run_id AND x.step_id = 'ExecuteST'
LEFT JOIN app.sbx_runs s ON s.run_id = m.run_id AND s.step_id = 'ExecuteST' AND s.task_key = m.receipt_key
WHERE s.run_id IS NULL
ORDER BY run_id, task_key
