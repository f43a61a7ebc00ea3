-- Each step is committed once. ExecuteST alone has attempts, and has a second row only in a retried run.
-- source: hard law "Exactly-Once" (docs/operator-guide.md)
WITH counted AS (
    SELECT s.run_id, s.step_id, s.attempt, s.phase, r.retry_count,
        count(*) OVER (PARTITION BY s.run_id, s.step_id) AS committed
    FROM app.run_steps s
    JOIN app.runs r ON r.id = s.run_id
)
SELECT run_id, step_id, attempt,
    committed || ' row(s), attempt ' || attempt || ', phase ' || phase || ', after ' || retry_count || ' retries'
        AS detail
FROM counted
WHERE committed > CASE step_id WHEN 'ExecuteST' THEN retry_count + 1 ELSE 1 END
   OR (step_id <> 'ExecuteST' AND attempt <> 1)
   OR phase <> CASE step_id WHEN 'CompileST' THEN 'compilation' WHEN 'ApplyPatchST' THEN 'patching'
                            WHEN 'DecideST' THEN 'planning' ELSE 'execution' END
ORDER BY run_id, step_id, attempt
