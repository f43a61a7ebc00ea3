-- No segment is on the queue that its run has not counted yet.
-- source: design §2
-- needs: dbos.workflow_status
SELECT w.workflow_uuid, r.id AS run_id, 'the run is at segment ' || r.segment || ', status ' || r.status AS detail
FROM dbos.workflow_status w
JOIN app.runs r ON r.workflow_id = split_part(w.workflow_uuid, '/', 1)
WHERE substring(w.workflow_uuid FROM '^ih_[0-9a-f]{64}/([0-9]{1,9})$')::int > r.segment
ORDER BY w.workflow_uuid
