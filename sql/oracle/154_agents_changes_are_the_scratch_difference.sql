-- The changes of an agent's plan are the difference that it left in its working directory, whose hash the ledger keeps.
-- source: docs/agents.md, The ledger
SELECT run_id, op_key,
    CASE WHEN encode(sha256(convert_to(changes, 'UTF8')), 'hex') <> changes_sha256 THEN 'the hash is of another text'
         ELSE 'the plan states other changes' END AS detail
FROM app.opencode_calls
WHERE outcome = 'answered'
  AND (encode(sha256(convert_to(changes, 'UTF8')), 'hex') <> changes_sha256
       OR coalesce(structured -> 'patchPlan', '[]') <> changes::jsonb)
ORDER BY run_id, op_key
