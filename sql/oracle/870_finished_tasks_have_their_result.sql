-- A task workflow with status SUCCESS has stored its result, unless its run was canceled.
-- source: hard law "Exactly-Once" (docs/operator-guide.md)
-- needs: dbos.workflow_status
SELECT w.workflow_uuid, m.run_id, 'it was executed and ended in SUCCESS, and there is no result' AS detail
FROM dbos.workflow_status w
JOIN app.mock_receipts m ON m.receipt_key = split_part(w.workflow_uuid, '/', 1)
JOIN app.runs r ON r.id = m.run_id AND r.status <> 'canceled'
LEFT JOIN app.sbx_runs s ON s.task_key = m.receipt_key AND s.run_id = m.run_id
WHERE w.queue_name = 'sbxQ' AND w.status = 'SUCCESS' AND s.run_id IS NULL
ORDER BY w.workflow_uuid
