-- deployment --
-- A name unique to this database. Sandboxes carry it, so that each deployment recognizes its own.
SELECT system_identifier::text || '-' || current_database() AS name FROM pg_control_system()

-- wanted --
-- The tasks (arrays of equal length) whose run still waits for their result. The sandboxes of all others are orphans.
SELECT asked.run_id, asked.task_key
FROM unnest(%(run_id)s::text[], %(task_key)s::text[]) AS asked (run_id, task_key)
JOIN app.runs AS run ON run.id = asked.run_id
WHERE run.status IN ('queued', 'running', 'waiting_input', 'repairing')
    AND NOT EXISTS (
        SELECT 1 FROM app.sbx_runs AS done
        WHERE done.run_id = asked.run_id AND done.step_id = 'ExecuteST' AND done.task_key = asked.task_key)
