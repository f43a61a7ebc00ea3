-- current --
-- The plan a run's gate asks about, and the version it is.
SELECT version, plan, plan_sha256 FROM app.current_plans WHERE run_id = %(run_id)s

-- edited_hash --
-- The hash of the newest plan a person made of a run's plan, if there is one.
SELECT plan_sha256 FROM app.plan_versions WHERE run_id = %(run_id)s ORDER BY version DESC LIMIT 1

-- insert --
-- Keep a changed plan as the run's next version; the caller holds the run's row.
INSERT INTO app.plan_versions (run_id, version, plan, plan_sha256, based_on_sha256, edited_by)
SELECT %(run_id)s, coalesce(max(version), 1) + 1, %(plan)s, %(plan_sha256)s, %(based_on_sha256)s, %(edited_by)s
FROM app.plan_versions WHERE run_id = %(run_id)s
RETURNING *

-- edits --
-- A run's changed plans, the first first, without their content.
SELECT version, plan_sha256, based_on_sha256, edited_by, created_at FROM app.plan_versions
WHERE run_id = %(run_id)s ORDER BY version
