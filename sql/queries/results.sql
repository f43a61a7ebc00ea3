-- tasks --
-- A page of a run's task results after a position, the newest of each position, with the ends of their outputs.
-- `is_failed` null: all.
SELECT position, task_key, attempt, retry, request->>'cmd' AS command, err_code, (response->>'exit')::int AS exit,
    (metrics->>'wallMs')::bigint AS wall_ms, right(response->>'stdout', %(tail)s) AS stdout,
    right(response->>'stderr', %(tail)s) AS stderr
FROM app.sbx_current
WHERE run_id = %(run_id)s AND position > %(after)s
  AND (%(is_failed)s::boolean IS NULL OR (err_code <> 'NONE') = %(is_failed)s)
ORDER BY position LIMIT %(limit)s

-- endings --
-- What the outcome of each of these runs is about: the decision, and how many tasks of a failed run
-- ended and failed.
SELECT run.id AS run_id, approval.decision, approval.decided_by, results.failed, results.finished,
    EXISTS (SELECT FROM app.plan_questions question WHERE question.run_id = run.id) AS has_agent
FROM app.runs run
LEFT JOIN app.plan_approvals approval ON approval.run_id = run.id
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE current.err_code <> 'NONE') AS failed, count(*) AS finished
    FROM app.sbx_current current WHERE current.run_id = run.id AND run.status = 'retries_exceeded'
) AS results
WHERE run.id = ANY(%(run_ids)s)
