-- Each step has the artifacts its output implies: CompileST the plan, ApplyPatchST one card per patch, DecideST
-- one per proposed patch, or the sentinel if there is none. No step has artifacts before its commit.
-- source: docs/architecture.md, Task results and artifacts
WITH own AS (
    SELECT run_id, step_id,
        count(*) FILTER (WHERE kind = 'plan_card' AND idx = 0) AS plans,
        count(*) FILTER (WHERE kind IN ('patch_apply', 'patch')) AS patches,
        count(*) FILTER (WHERE kind = 'none' AND idx = 999) AS sentinels,
        count(*) AS kept
    FROM app.artifacts
    WHERE task_key = '' AND kind <> 'json_diagnostic'
      AND step_id IN ('CompileST', 'ApplyPatchST', 'DecideST', 'ExecuteST')
    GROUP BY run_id, step_id
), due AS (
    SELECT s.run_id, s.step_id, CASE s.step_id
        WHEN 'ApplyPatchST' THEN (
            SELECT coalesce(max(jsonb_array_length(c.output -> 'patchPlan')), 0)
            FROM app.run_steps c WHERE c.run_id = s.run_id AND c.step_id = 'CompileST')
        WHEN 'DecideST' THEN jsonb_array_length(s.output #> '{structured,patch}')
        ELSE 0 END AS patches
    FROM app.run_steps s
    WHERE s.attempt = 1 OR s.step_id <> 'ExecuteST'
), judged AS (
    SELECT coalesce(d.run_id, o.run_id) AS run_id, coalesce(d.step_id, o.step_id) AS step_id,
        d.run_id IS NOT NULL AS is_committed, d.patches AS due,
        coalesce(o.plans, 0) AS plans, coalesce(o.patches, 0) AS patches,
        coalesce(o.sentinels, 0) AS sentinels, coalesce(o.kept, 0) AS kept
    FROM due d
    FULL JOIN own o ON o.run_id = d.run_id AND o.step_id = d.step_id
)
SELECT run_id, step_id,
    CASE WHEN NOT is_committed THEN kept || ' artifact(s) of a step without a row'
         ELSE kept || ' artifact(s): ' || plans || ' plan, ' || patches || ' of ' || due || ' patches, '
            || sentinels || ' sentinel' END AS detail
FROM judged
WHERE NOT is_committed
   OR (step_id = 'CompileST' AND (plans, kept) <> (1, 1))
   OR (step_id IN ('ApplyPatchST', 'DecideST')
       AND (patches, sentinels, kept) <> (due, (due = 0)::int, greatest(due, 1)))
   OR (step_id = 'ExecuteST' AND kept <> 0)
ORDER BY run_id, step_id
