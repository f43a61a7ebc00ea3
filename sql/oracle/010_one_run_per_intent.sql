-- Each intent has at most one run, and the run's workflow id is the intent's id.
-- source: hard law "Workflow Identity" (docs/operator-guide.md)
SELECT r.id AS run_id, r.intent_id,
    CASE WHEN r.workflow_id <> r.intent_id THEN 'its workflow id is ' || r.workflow_id
         ELSE 'the intent has ' || count(*) OVER (PARTITION BY r.intent_id) || ' runs' END AS detail
FROM app.runs r
WHERE r.workflow_id <> r.intent_id
   OR EXISTS (SELECT FROM app.runs other WHERE other.workflow_id = r.workflow_id AND other.id <> r.id)
ORDER BY r.intent_id, r.id
