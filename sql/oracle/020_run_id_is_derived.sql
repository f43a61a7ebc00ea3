-- A run's id is derived from its workflow id: `run_` and the first 32 hex digits of the sha256 of {"workflowId":
-- id}.
-- source: docs/architecture.md, Identifiers
WITH derived AS (
    SELECT id, workflow_id,
        'run_' || left(encode(sha256(convert_to('{"workflowId":' || to_json(workflow_id) || '}', 'UTF8')), 'hex'), 32)
            AS expected
    FROM app.runs
)
SELECT id AS run_id, workflow_id, 'its workflow id derives ' || expected AS detail
FROM derived
WHERE id <> expected
ORDER BY id
