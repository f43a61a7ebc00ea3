-- Text stored in the database has the sha256 that its row records.
-- source: hard law "Determinism" (docs/operator-guide.md)
SELECT run_id, step_id, task_key, uri,
    'its text hashes to ' || encode(sha256(convert_to(inline ->> 'text', 'UTF8')), 'hex') || ', the row says ' || sha256
        AS detail
FROM app.artifacts
WHERE kind IN ('stdout', 'stderr', 'file', 'none')
  AND sha256 <> encode(sha256(convert_to(inline ->> 'text', 'UTF8')), 'hex')
ORDER BY uri
