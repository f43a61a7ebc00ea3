-- Text and files stored in the database have the sha256 that their rows record.
-- source: hard law "Determinism" (docs/operator-guide.md)
SELECT run_id, step_id, task_key, uri, 'its content hashes to ' || content_sha256 || ', the row says ' || sha256
    AS detail
FROM app.artifacts
CROSS JOIN LATERAL (SELECT encode(sha256(coalesce(
    convert_to(inline ->> 'text', 'UTF8'), decode(inline ->> 'base64', 'base64'))), 'hex') AS content_sha256) AS content
WHERE kind IN ('stdout', 'stderr', 'file', 'none') AND sha256 <> content_sha256
ORDER BY uri
