-- The requests for changes of a run are numbered without gaps, and there are no more of them than its recipe allows. Each
-- has a question or a version, each later question has a request, and a request follows the end of the round before it.
-- While one is planned, the gate has no deadline and the plan no decision.
-- source: docs/human-gate.md, Request changes
WITH counted AS (
    SELECT c.run_id, count(*) AS requests, max(c.round) AS last_round, min(recipe.max_change_requests) AS allowed
    FROM app.change_requests c
    JOIN app.runs r ON r.id = c.run_id
    JOIN app.recipes recipe ON recipe.id = r.recipe_id
    GROUP BY c.run_id
)
SELECT run_id, last_round AS round, format('%s requests up to round %s, allowed are %s', requests, last_round, allowed)
    AS detail
FROM counted WHERE requests <> last_round - 1 OR requests > allowed
UNION ALL
SELECT p.run_id, p.round, 'nothing was asked'
FROM app.plan_rounds p
WHERE p.outcome <> 'planned'
  AND NOT EXISTS (SELECT FROM app.plan_questions q WHERE q.run_id = p.run_id AND q.round = p.round)
UNION ALL
SELECT q.run_id, q.round, 'nobody requested this round'
FROM app.plan_questions q
WHERE q.round > 1 AND NOT EXISTS (SELECT FROM app.change_requests c WHERE c.run_id = q.run_id AND c.round = q.round)
UNION ALL
SELECT p.run_id, p.round, 'a later round was requested meanwhile'
FROM app.plan_rounds p
WHERE p.outcome = 'planning' AND EXISTS (
    SELECT FROM app.change_requests c WHERE c.run_id = p.run_id AND c.round > p.round)
UNION ALL
SELECT p.run_id, p.round, 'the plan is decided or has a deadline while it is changed'
FROM app.plan_rounds p
JOIN app.human_gates g ON g.run_id = p.run_id AND g.gate_key = p.gate_key
WHERE p.outcome = 'planning'
  AND (g.deadline_at IS NOT NULL OR EXISTS (SELECT FROM app.plan_approvals a WHERE a.run_id = p.run_id))
ORDER BY run_id, round, detail
