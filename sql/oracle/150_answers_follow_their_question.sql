-- The answer of a coding agent belongs to a question of its run, and its tries are counted without gaps. A question has
-- one answer or one failure that gave it up, which is the last row of its tries.
-- source: hard law "Exactly-Once" (docs/operator-guide.md)
WITH counted AS (
    SELECT op_key, min(run_id) AS run_id, count(*) AS tries, max(try) AS last_try,
        count(*) FILTER (WHERE outcome = 'answered') AS answers, count(*) FILTER (WHERE is_final) AS finals,
        max(try) FILTER (WHERE is_final) AS final_try
    FROM app.opencode_calls
    GROUP BY op_key
), strangers AS (
    SELECT c.op_key
    FROM app.opencode_calls c
    LEFT JOIN app.plan_questions q
        ON q.op_key = c.op_key AND (q.run_id, q.step_id, q.attempt) = (c.run_id, c.step_id, c.attempt)
    WHERE q.op_key IS NULL
)
SELECT c.run_id, c.op_key,
    format('%s tries up to number %s, %s answers, %s final', c.tries, c.last_try, c.answers, c.finals) AS detail
FROM counted c
WHERE c.tries <> c.last_try OR c.answers > 1 OR c.finals > 1 OR c.final_try < c.last_try
   OR c.op_key IN (SELECT op_key FROM strangers)
ORDER BY c.run_id, c.op_key
