-- In a succeeded run all patches are applied, and those of a plan that was edited later are rolled back. In a run
-- that ended otherwise, all patches are rolled back. A failed rollback is recorded as the run's error.
-- source: docs/architecture.md, Workspace patches
SELECT p.run_id, p.patch_index, p.target_path,
    'the run is ' || r.status || '; applied ' || coalesce(p.applied_at::text, 'never') || ', taken back '
        || coalesce(p.rolled_back_at::text, 'never') AS detail
FROM app.patch_history p
JOIN app.runs r ON r.id = p.run_id
LEFT JOIN app.current_plans c ON c.run_id = p.run_id
WHERE (r.status = 'succeeded' AND (p.applied_at IS NULL
        OR (p.rolled_back_at IS NOT NULL) <> (c.version > 1 AND p.step_id = 'ApplyPatchST')))
   OR (r.status IN ('failed', 'retries_exceeded', 'canceled') AND p.rolled_back_at IS NULL
       AND NOT starts_with(coalesce(r.error, ''), 'APPLY_PATCH_ROLLBACK_FAILED:'))
ORDER BY p.run_id, p.patch_index
