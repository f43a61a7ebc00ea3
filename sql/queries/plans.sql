-- current --
-- The current plan of a run with its version.
SELECT version, plan, plan_sha256 FROM app.current_plans WHERE run_id = %(run_id)s

-- edited_hash --
-- The hash of the newest edited plan of a run, if any.
SELECT plan_sha256 FROM app.plan_versions WHERE run_id = %(run_id)s ORDER BY version DESC LIMIT 1

-- insert --
-- Insert an edited plan as the run's next version. The caller has locked the run's row.
INSERT INTO app.plan_versions (run_id, version, plan, plan_sha256, based_on_sha256, edited_by)
SELECT %(run_id)s, coalesce(max(version), 1) + 1, %(plan)s, %(plan_sha256)s, %(based_on_sha256)s, %(edited_by)s
FROM app.plan_versions WHERE run_id = %(run_id)s
RETURNING *

-- edits --
-- A run's edited plans in order, without their content.
SELECT version, plan_sha256, based_on_sha256, edited_by, created_at FROM app.plan_versions
WHERE run_id = %(run_id)s ORDER BY version
