-- Every request to the provider carries its task key as idempotency key, and its payload's hash.
-- source: design §3
SELECT run_id, receipt_key AS task_key,
    'idempotency key ' || coalesce(idempotency_key, 'none') || ', payload hash ' || payload_hash AS detail
FROM app.mock_receipts
WHERE idempotency_key IS DISTINCT FROM receipt_key OR payload_hash !~ '^[0-9a-f]{64}$'
ORDER BY run_id, receipt_key
