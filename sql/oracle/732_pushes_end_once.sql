-- A push has ended when its end is recorded, and not before. It has at most 12 attempts, and one more that gives up.
-- source: docs/repositories.md, Push the branch
SELECT run_id,
    CASE WHEN q.run_id IS NULL THEN 'the push was not requested'
         WHEN (q.finished_at IS NULL) <> (p.run_id IS NULL) THEN format('the request ended %s, the end is recorded %s',
            coalesce(q.finished_at::text, 'never'), coalesce(p.created_at::text, 'never'))
         ELSE 'it has had ' || q.attempts || ' attempts' END AS detail
FROM app.push_requests q
FULL JOIN app.run_pushes p USING (run_id)
WHERE q.run_id IS NULL
   OR (q.finished_at IS NULL) <> (p.run_id IS NULL)
   OR q.attempts > 13
   OR (p.run_id IS NOT NULL AND q.attempts = 0)
ORDER BY run_id
