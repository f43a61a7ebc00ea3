-- Each request to the provider carries the task key as its idempotency key, and the hash of its payload.
-- source: docs/architecture.md, Receipts
SELECT run_id, receipt_key AS task_key,
    'idempotency key ' || coalesce(idempotency_key, 'none') || ', payload hash ' || payload_hash AS detail
FROM app.mock_receipts
WHERE idempotency_key IS DISTINCT FROM receipt_key OR payload_hash !~ '^[0-9a-f]{64}$'
ORDER BY run_id, receipt_key
