-- In a succeeded run, the push that the approved plan names is requested once, with its remote and its branch, unless the
-- plan changes no file. No other push is requested.
-- source: docs/repositories.md, Push the branch
WITH approved AS (
    SELECT DISTINCT r.id AS run_id, c.push::jsonb ->> 'remote' AS remote, c.push::jsonb ->> 'branch' AS branch
    FROM app.runs r
    JOIN app.plan_approvals p ON p.run_id = r.id
    JOIN app.complete_plans c ON c.run_id = r.id AND c.plan_sha256 = p.plan_sha256
    WHERE r.status = 'succeeded' AND c.push IS NOT NULL AND c.changes <> '[]'
)
SELECT run_id,
    CASE WHEN a.branch IS NULL THEN 'no approved plan of a succeeded run names the push of ' || q.branch
         WHEN q.branch IS NULL THEN 'the push of ' || a.branch || ' is not requested'
         ELSE format('approved is the push of %s to %s, requested is %s to %s', a.branch, a.remote, q.branch, q.remote)
    END AS detail
FROM approved a
FULL JOIN app.push_requests q USING (run_id)
WHERE (a.remote, a.branch) IS DISTINCT FROM (q.remote, q.branch)
   OR q.branch <> 'sisu/' || run_id
ORDER BY run_id
