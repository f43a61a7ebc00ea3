-- What the oracle judges and people answer for is never changed or deleted. A trigger of columns costs nothing while a
-- statement sets only the others. `SET session_replication_role = replica` (a superuser's) turns triggers off.

CREATE FUNCTION app.refuse_columns() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'these columns of % are final', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.intents
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.run_steps
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.artifacts
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.sbx_runs
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.sbx_attempts
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.gate_answers
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();

-- Changes: the state of the run, and what the engine notes about it.
CREATE TRIGGER append_only BEFORE DELETE ON app.runs
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER fixed_columns BEFORE UPDATE OF
    id, intent_id, workflow_id, recipe_id, recipe_version, recipe_hash, queue_name, queue_partition_key, priority, lane,
    tenant_id, trace_id, budget, timeout_ms, submitted_by
    ON app.runs FOR EACH ROW EXECUTE FUNCTION app.refuse_columns();

-- Changes: the deadline, which an operator may move.
CREATE TRIGGER append_only BEFORE DELETE ON app.human_gates
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER fixed_columns BEFORE UPDATE OF
    run_id, gate_key, step_id, purpose, topic, plan_sha256, created_at, on_timeout, form
    ON app.human_gates FOR EACH ROW EXECUTE FUNCTION app.refuse_columns();

-- Changes: reported_at, when the decision was reported to Dagster.
CREATE TRIGGER append_only BEFORE DELETE ON app.plan_approvals
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER fixed_columns BEFORE UPDATE OF
    run_id, decision, decided_by, decided_at, notes, plan_sha256
    ON app.plan_approvals FOR EACH ROW EXECUTE FUNCTION app.refuse_columns();

-- Changes: whether the patch is applied and rolled back.
CREATE TRIGGER append_only BEFORE DELETE ON app.patch_history
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER fixed_columns BEFORE UPDATE OF
    run_id, step_id, patch_index, target_path, preimage_hash, preimage_content, preimage_mode, postimage_hash,
    postimage_content, diff_hash, created_at
    ON app.patch_history FOR EACH ROW EXECUTE FUNCTION app.refuse_columns();

-- Changes: the newest execution and the counts, which only grow.
CREATE TRIGGER append_only BEFORE DELETE ON app.mock_receipts
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER fixed_columns BEFORE UPDATE OF
    receipt_key, run_id, step_id, first_attempt, created_at
    ON app.mock_receipts FOR EACH ROW EXECUTE FUNCTION app.refuse_columns();
CREATE TRIGGER counts_grow BEFORE UPDATE OF seen_count, request_count ON app.mock_receipts
    FOR EACH ROW WHEN (NEW.seen_count < OLD.seen_count OR NEW.request_count < OLD.request_count)
    EXECUTE FUNCTION app.refuse_columns();

CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.intents EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.runs EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.run_steps EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.artifacts EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.sbx_runs EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.sbx_attempts EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.human_gates EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.human_interactions EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.gate_answers EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.plan_approvals EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.plan_versions EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.patch_history EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.mock_receipts EXECUTE FUNCTION app.refuse_change();
