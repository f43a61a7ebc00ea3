-- The output of CompileST is the answer in the ledger, where a coding agent made the plan: design, files, risks, tests,
-- command and changes.
-- source: docs/agents.md, The ledger
SELECT c.run_id, c.op_key,
    CASE WHEN c.outcome = 'failed' THEN 'the question failed, and there is a plan'
         ELSE 'the plan differs from the answer' END AS detail
FROM app.run_steps s
JOIN app.plan_questions q ON q.run_id = s.run_id AND q.round = 1
JOIN app.opencode_calls c ON c.op_key = q.op_key AND c.is_final
WHERE s.step_id = 'CompileST'
  AND q.attempt = (SELECT max(n.attempt) FROM app.plan_questions n WHERE n.run_id = s.run_id AND n.round = 1)
  AND (c.outcome = 'failed'
    OR (s.output -> 'design', s.output -> 'files', s.output -> 'risks', s.output -> 'tests', s.output -> 'testCommand')
        IS DISTINCT FROM (c.structured -> 'design', c.structured -> 'files', c.structured -> 'risks',
                          c.structured -> 'tests', c.structured -> 'testCommand')
    OR coalesce((SELECT jsonb_agg(patch - 'diffText' ORDER BY place)
                 FROM jsonb_array_elements(s.output -> 'patchPlan') WITH ORDINALITY AS t (patch, place)), '[]')
        IS DISTINCT FROM coalesce(c.structured -> 'patchPlan', '[]'))
ORDER BY c.run_id, c.op_key
