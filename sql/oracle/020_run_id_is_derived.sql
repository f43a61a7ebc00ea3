-- A run's id is a function of its workflow id: run_ and 32 hex digits of the sha256 of {"workflowId": id}.
-- source: design §2, reference §A1
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
