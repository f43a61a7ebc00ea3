-- Each answer of a coding agent to a request for changes is one version of the plan, and each version that an agent made
-- is the answer in the ledger, if an agent was asked: design, files, risks, tests, command and changes. It is based on
-- the plan that the changes were requested for.
-- source: docs/agents.md, The ledger
WITH answers AS (
    SELECT q.run_id, q.round, c.op_key, c.structured FROM app.plan_questions q
    JOIN app.opencode_calls c ON c.op_key = q.op_key AND c.outcome = 'answered'
    WHERE q.round > 1
)
SELECT coalesce(a.run_id, v.run_id) AS run_id, coalesce(a.round, v.round) AS round,
    CASE WHEN v.run_id IS NULL THEN 'the answer is no version'
         WHEN a.run_id IS NULL THEN 'the version has no answer'
         WHEN v.based_on_sha256 <> r.plan_sha256 THEN 'changed was ' || v.based_on_sha256 || ', requested ' || r.plan_sha256
         ELSE 'the version differs from the answer' END AS detail
FROM answers a
FULL JOIN (SELECT * FROM app.plan_versions WHERE round IS NOT NULL) v ON v.run_id = a.run_id AND v.round = a.round
LEFT JOIN app.change_requests r ON r.run_id = v.run_id AND r.round = v.round
WHERE v.run_id IS NULL
   OR v.based_on_sha256 <> r.plan_sha256
   OR (a.run_id IS NULL AND EXISTS (
       SELECT FROM app.plan_questions q WHERE q.run_id = v.run_id AND q.round = v.round))
   OR (a.run_id IS NOT NULL AND (
       (v.plan -> 'design', v.plan -> 'files', v.plan -> 'risks', v.plan -> 'tests', v.plan -> 'testCommand')
           IS DISTINCT FROM (a.structured -> 'design', a.structured -> 'files', a.structured -> 'risks',
                             a.structured -> 'tests', a.structured -> 'testCommand')
       OR coalesce((SELECT jsonb_agg(patch - 'diffText' ORDER BY place)
                    FROM jsonb_array_elements(v.plan -> 'patchPlan') WITH ORDINALITY AS t (patch, place)), '[]')
           IS DISTINCT FROM coalesce(a.structured -> 'patchPlan', '[]')))
ORDER BY 1, 2
