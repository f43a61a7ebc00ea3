-- The sessions with an agent that led to an answer used no more tokens and no more money than the run's budget allows.
-- source: docs/agents.md, Budget
WITH spent AS (
    SELECT op_key, min(run_id) AS run_id, sum(input_tokens + output_tokens) AS tokens, sum(cost_usd) AS cost_usd,
        bool_or(outcome = 'answered') AS is_answered
    FROM app.opencode_calls
    GROUP BY op_key
)
SELECT s.run_id, s.op_key,
    format('%s tokens of %s, %s dollars of %s', s.tokens, coalesce(r.budget ->> 'maxPlanTokens', 'any number'),
        coalesce(s.cost_usd::text, 'unknown'), coalesce(r.budget ->> 'maxPlanCostUSD', 'any amount')) AS detail
FROM spent s
JOIN app.runs r ON r.id = s.run_id
WHERE s.is_answered
  AND (s.tokens > (r.budget ->> 'maxPlanTokens')::numeric
       OR coalesce(s.cost_usd, 0) > (r.budget ->> 'maxPlanCostUSD')::numeric
       OR (s.cost_usd IS NULL AND r.budget ? 'maxPlanCostUSD'))
ORDER BY s.run_id, s.op_key
