-- current --
-- The current plan of a run with its version.
SELECT version, plan, plan_sha256 FROM app.current_plans WHERE run_id = %(run_id)s

-- edited_hash --
-- The hash of the newest edited plan of a run, if any.
SELECT plan_sha256 FROM app.plan_versions WHERE run_id = %(run_id)s ORDER BY version DESC LIMIT 1

-- insert --
-- Insert a plan as the run's next version. The caller has locked the run's row.
INSERT INTO app.plan_versions (run_id, version, plan, plan_sha256, based_on_sha256, edited_by, channel, round)
SELECT %(run_id)s, coalesce(max(version), 1) + 1, %(plan)s, %(plan_sha256)s, %(based_on_sha256)s, %(edited_by)s,
    %(channel)s, %(round)s
FROM app.plan_versions WHERE run_id = %(run_id)s
RETURNING *

-- edits --
-- A run's later plans in order, without their content, with the request and the session that led to an agent's.
SELECT made.version, made.plan_sha256, made.based_on_sha256, made.edited_by, made.round, made.created_at,
    request.requested_by, request.comment,
    coalesce(nullif(concat_ws(' ', session.agent_name, session.agent_version), ''), session.agent) AS agent,
    session.model
FROM app.plan_versions made
LEFT JOIN app.change_requests request ON request.run_id = made.run_id AND request.round = made.round
LEFT JOIN LATERAL (
    SELECT call.* FROM app.plan_questions question
    JOIN app.opencode_calls call ON call.op_key = question.op_key AND call.outcome = 'answered'
    WHERE question.run_id = made.run_id AND question.round = made.round
) session ON true
WHERE made.run_id = %(run_id)s ORDER BY made.version

-- insert_sealed --
-- Insert the complete plan of a version, once.
INSERT INTO app.complete_plans (
    run_id, version, plan_sha256, head, changes, tasks, recipe, policy, base, push, setup)
VALUES (
    %(run_id)s, %(version)s, %(plan_sha256)s, %(head)s, %(changes)s, %(tasks)s, %(recipe)s, %(policy)s, %(base)s,
    %(push)s, %(setup)s)
ON CONFLICT (run_id, version) DO NOTHING
RETURNING version

-- sealed_hash --
-- The hash of the complete plan of a version.
SELECT plan_sha256 FROM app.complete_plans WHERE run_id = %(run_id)s AND version = %(version)s

-- sealed --
-- The sections of a complete plan.
SELECT changes, tasks, recipe, policy, base, push, setup FROM app.complete_plans
WHERE run_id = %(run_id)s AND version = %(version)s

-- terms --
-- What a complete plan's tasks have in common, shown by the first one, and the hash of all of them.
SELECT tasks::jsonb -> 0 AS task, head::jsonb ->> 'tasks' AS tasks_sha256, recipe, policy, base, push, setup
FROM app.complete_plans
WHERE run_id = %(run_id)s AND version = %(version)s

-- setup --
-- The setup of a complete plan; null without one.
SELECT setup FROM app.complete_plans WHERE run_id = %(run_id)s AND version = %(version)s

-- changes_hash --
-- The hash of the changes of a complete plan.
SELECT head::jsonb ->> 'changes' FROM app.complete_plans WHERE run_id = %(run_id)s AND version = %(version)s

-- compiled_command --
-- The command of the compiled plan.
SELECT output ->> 'testCommand' FROM app.run_steps WHERE run_id = %(run_id)s AND step_id = 'CompileST' AND attempt = 1
