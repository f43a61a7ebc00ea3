-- outcomes --
-- For each run: status, decision, and the numbers of interactions, receipts, task executions, applied patches and
-- Dagster runs: the one that owns the run, and others with its tag.
SELECT r.id, r.workflow_id, r.status, made.decision,
       (SELECT count(*) FROM app.human_interactions h WHERE h.run_id = r.id) AS interactions,
       (SELECT count(*) FROM app.mock_receipts m WHERE m.run_id = r.id) AS receipts,
       (SELECT coalesce(sum(m.seen_count), 0)::int FROM app.mock_receipts m WHERE m.run_id = r.id) AS executions,
       (SELECT count(*) FROM app.patch_history p WHERE p.run_id = r.id AND p.rolled_back_at IS NULL) AS patches_left,
       (SELECT count(*) FROM dagster.runs d
        WHERE d.run_id = r.dagster_run_id OR d.run_id IN (
            SELECT t.run_id FROM dagster.run_tags t WHERE t.key = 'dagster/partition' AND t.value = r.workflow_id))
           AS dagster_runs
FROM app.runs r LEFT JOIN app.plan_approvals made ON made.run_id = r.id
WHERE r.workflow_id = ANY(%(workflow_ids)s) ORDER BY r.id
