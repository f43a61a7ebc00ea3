-- The mock provider executed every task exactly once, however many requests it received.
-- source: hard law "Exactly-Once" (docs/operator-guide.md)
SELECT run_id, receipt_key AS task_key, 'executed ' || seen_count || ' times, asked ' || request_count || ' times' AS detail
FROM app.mock_receipts
WHERE seen_count > 1 OR request_count < seen_count
ORDER BY run_id, receipt_key
