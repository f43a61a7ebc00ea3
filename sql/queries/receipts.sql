-- start --
-- Count requests to the mock provider (arrays of equal length, each key once) and return which of them execute: a new
-- task key, a request without idempotency key, and one with another key than the existing execution. Every other
-- request adopts the existing execution and is counted in request_count only.
INSERT INTO app.mock_receipts AS kept (
    receipt_key, run_id, step_id, payload_hash, idempotency_key, first_attempt, last_attempt, duration_ms)
SELECT asked.receipt_key, asked.run_id, asked.step_id, asked.payload_hash, asked.idempotency_key,
    asked.attempt, asked.attempt, asked.duration_ms
FROM unnest(
    %(receipt_key)s::text[], %(run_id)s::text[], %(step_id)s::text[], %(payload_hash)s::text[],
    %(idempotency_key)s::text[], %(attempt)s::int[], %(duration_ms)s::int[])
    AS asked (receipt_key, run_id, step_id, payload_hash, idempotency_key, attempt, duration_ms)
ON CONFLICT (receipt_key) DO UPDATE SET (
    seen_count, payload_hash, idempotency_key, duration_ms, started_at, last_attempt, request_count, updated_at
) = (
    SELECT
        kept.seen_count + again::int,
        CASE WHEN again THEN excluded.payload_hash ELSE kept.payload_hash END,
        CASE WHEN again THEN excluded.idempotency_key ELSE kept.idempotency_key END,
        CASE WHEN again THEN excluded.duration_ms ELSE kept.duration_ms END,
        CASE WHEN again THEN excluded.started_at ELSE kept.started_at END,
        greatest(kept.last_attempt, excluded.last_attempt), kept.request_count + 1, now()
    FROM (SELECT excluded.idempotency_key IS NULL
        OR excluded.idempotency_key IS DISTINCT FROM kept.idempotency_key AS again) AS decision
)
RETURNING receipt_key,
    -- now() is this transaction's start, so only an execution of this statement can carry it.
    started_at = now() AS executes,
    seen_count, request_count, payload_hash, duration_ms,
    greatest(0, extract(epoch FROM clock_timestamp() - started_at) * 1000)::int AS elapsed_ms
