-- The queue has no segment with a higher number than its run's current segment.
-- source: docs/architecture.md, Segments and recovery
-- needs: dbos.workflow_status
SELECT w.workflow_uuid, r.id AS run_id, 'the run is at segment ' || r.segment || ', status ' || r.status AS detail
FROM dbos.workflow_status w
JOIN app.runs r ON r.workflow_id = split_part(w.workflow_uuid, '/', 1)
WHERE substring(w.workflow_uuid FROM '^ih_[0-9a-f]{64}/([0-9]{1,9})$')::int > r.segment
ORDER BY w.workflow_uuid
