-- A succeeded run's patches are all applied, and those of a plan that a person changed are taken back; of a run that ended
-- badly every patch is taken back. (A rollback that could not be done says so in the run's error.)
-- source: seed §1 (reversible patch), reference §C2
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
