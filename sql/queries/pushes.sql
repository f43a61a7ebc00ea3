-- request --
-- Request the push of a run that succeeds, if its plan has one and changes a file. The newest version of the plan is the
-- approved one.
INSERT INTO app.push_requests (run_id, remote, branch)
SELECT run_id, push::jsonb ->> 'remote', push::jsonb ->> 'branch' FROM (
    SELECT run_id, push, changes FROM app.complete_plans WHERE run_id = %(run_id)s ORDER BY version DESC LIMIT 1
) AS approved
WHERE push IS NOT NULL AND changes <> '[]'
ON CONFLICT (run_id) DO NOTHING

-- take --
-- Start an attempt of one push that is due, to this remote or, with null, to any; the one after the last gives up. If the
-- process dies, the push is due again after the pause.
UPDATE app.push_requests request
SET attempts = least(request.attempts + 1, %(most_attempts)s + 1),
    next_attempt_at = clock_timestamp() + make_interval(secs => least(
        %(longest_pause_s)s::float, %(first_pause_s)s::float * power(2, least(request.attempts, 30))))
FROM (
    SELECT run_id FROM app.push_requests
    WHERE finished_at IS NULL AND next_attempt_at <= clock_timestamp() AND remote = coalesce(%(remote)s, remote)
    ORDER BY next_attempt_at, run_id LIMIT 1
    FOR UPDATE SKIP LOCKED
) AS due
WHERE request.run_id = due.run_id
RETURNING request.run_id, request.remote, request.branch, request.attempts, request.last_error

-- due_remotes --
-- The remotes to which a push is due, the longest due first.
SELECT remote FROM app.push_requests
WHERE finished_at IS NULL AND next_attempt_at <= clock_timestamp()
GROUP BY remote ORDER BY min(next_attempt_at), remote

-- postpone --
-- Record why an attempt failed; the pause before the next one counts from now.
UPDATE app.push_requests
SET last_error = %(error)s,
    next_attempt_at = clock_timestamp() + make_interval(secs => least(
        %(longest_pause_s)s::float, %(first_pause_s)s::float * power(2, least(attempts - 1, 30))))
WHERE run_id = %(run_id)s AND finished_at IS NULL

-- insert --
-- Insert the end of a push, once.
INSERT INTO app.run_pushes (run_id, state, commit_id, parent_id, tree_id, changes, error)
VALUES (%(run_id)s, %(state)s, %(commit)s, %(parent)s, %(tree)s, %(changes)s, %(error)s)
ON CONFLICT (run_id) DO NOTHING
RETURNING run_id

-- finish --
-- Mark a request whose end is recorded.
UPDATE app.push_requests SET finished_at = clock_timestamp() WHERE run_id = %(run_id)s AND finished_at IS NULL

-- announce --
-- Add the end of a push to the outbox of the webhook, once.
INSERT INTO app.escalations (run_id, gate_key, payload)
SELECT push.run_id, 'push', jsonb_strip_nulls(jsonb_build_object(
    'event', CASE push.state WHEN 'pushed' THEN 'BRANCH_PUSHED' ELSE 'BRANCH_PUSH_FAILED' END,
    'id', 'push:' || run.workflow_id,
    'runId', run.id,
    'workflowId', run.workflow_id,
    'remote', request.remote,
    'branch', request.branch,
    'commit', push.commit_id,
    'baseCommit', base.commit_id,
    'baseRef', base.ref,
    'error', push.error))
FROM app.run_pushes push
JOIN app.push_requests request ON request.run_id = push.run_id
JOIN app.runs run ON run.id = push.run_id
LEFT JOIN app.run_bases base ON base.run_id = push.run_id
WHERE push.run_id = %(run_id)s
ON CONFLICT (run_id, gate_key) DO NOTHING

-- of_run --
-- The push of a run: its request, and its end if it has ended.
SELECT coalesce(push.state, 'waiting') AS state, request.remote, request.branch, push.commit_id AS commit,
    coalesce(push.error, request.last_error) AS error, request.attempts, push.created_at AS ended_at
FROM app.push_requests request
LEFT JOIN app.run_pushes push ON push.run_id = request.run_id
WHERE request.run_id = %(run_id)s
