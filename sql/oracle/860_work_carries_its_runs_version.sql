-- Segments and tasks carry the application version of their run or a declared successor of it, so that only workers of
-- these versions execute them.
-- source: docs/architecture.md, Segments and recovery
-- needs: dbos.workflow_status
WITH stamped AS (
    SELECT workflow_uuid, split_part(workflow_uuid, '/', 1) AS id, application_version
    FROM dbos.workflow_status
), owned AS (
    SELECT w.workflow_uuid, w.application_version, r.id AS run_id, r.app_version
    FROM stamped w
    JOIN app.runs r ON r.workflow_id = w.id
    UNION ALL
    SELECT w.workflow_uuid, w.application_version, r.id, r.app_version
    FROM stamped w
    JOIN app.sbx_runs s ON s.task_key = w.id AND s.step_id = 'ExecuteST'
    JOIN app.runs r ON r.id = s.run_id
)
SELECT workflow_uuid, run_id,
    'version ' || coalesce(application_version, 'none') || ', the run''s is ' || app_version AS detail
FROM owned
WHERE application_version IS DISTINCT FROM app_version
  AND NOT EXISTS (SELECT FROM app.version_successors s
                  WHERE s.version = app_version AND s.successor = application_version)
ORDER BY workflow_uuid
