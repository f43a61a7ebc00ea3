-- A deadline that nobody met is not final: an operator's retry opens the gate again. The outcome of the deadline moves
-- to a ledger of its own, so that the run's one decision or answer can be made by a person.

CREATE TABLE app.passed_deadlines (
    run_id text NOT NULL,
    gate_key text NOT NULL,
    number int NOT NULL CHECK (number > 0),
    deadline_at timestamptz NOT NULL,
    decided_at timestamptz NOT NULL,
    plan_sha256 text,
    record text,
    signature text,
    reopened_by text NOT NULL CHECK (reopened_by <> ''),
    reason text NOT NULL,
    reopened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, gate_key, number),
    FOREIGN KEY (run_id, gate_key) REFERENCES app.human_gates (run_id, gate_key)
);
COMMENT ON COLUMN app.passed_deadlines.record IS 'the record of the decision that the deadline had made';
COMMENT ON TABLE app.passed_deadlines IS 'deadlines that passed with a rejection or without an answer, and were reopened';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.passed_deadlines
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.passed_deadlines EXECUTE FUNCTION app.refuse_change();

CREATE FUNCTION app.refuse_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('sisu.reopen', true) = OLD.run_id THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
DROP TRIGGER append_only ON app.plan_approvals;
CREATE TRIGGER append_only BEFORE DELETE ON app.plan_approvals
    FOR EACH ROW EXECUTE FUNCTION app.refuse_removal();
DROP TRIGGER append_only ON app.gate_answers;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.gate_answers
    FOR EACH ROW EXECUTE FUNCTION app.refuse_removal();

CREATE FUNCTION app.reopen_gates(reopened_id text, person text, why text, shortest interval, longest interval)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    reopened int;
BEGIN
    WITH missed AS (
        SELECT gate.gate_key, gate.deadline_at, made.decided_at, made.plan_sha256, made.record, made.signature
        FROM app.human_gates gate JOIN app.plan_approvals made ON made.run_id = gate.run_id
        WHERE gate.run_id = reopened_id AND gate.purpose = 'approve-plan'
          AND made.decided_by = 'sisu:deadline' AND made.decision = 'rejected'
        UNION ALL
        SELECT gate.gate_key, gate.deadline_at, said.answered_at, gate.plan_sha256, NULL, NULL
        FROM app.human_gates gate JOIN app.gate_answers said USING (run_id, gate_key)
        WHERE gate.run_id = reopened_id AND said.answered_by = 'sisu:deadline' AND said.answer IS NULL
    )
    INSERT INTO app.passed_deadlines (
        run_id, gate_key, number, deadline_at, decided_at, plan_sha256, record, signature, reopened_by, reason)
    SELECT reopened_id, missed.gate_key, 1 + (
            SELECT count(*) FROM app.passed_deadlines earlier
            WHERE earlier.run_id = reopened_id AND earlier.gate_key = missed.gate_key),
        missed.deadline_at, missed.decided_at, missed.plan_sha256, missed.record, missed.signature, person, why
    FROM missed;
    GET DIAGNOSTICS reopened = ROW_COUNT;
    IF reopened = 0 THEN
        RETURN 0;
    END IF;
    PERFORM set_config('sisu.reopen', reopened_id, true);
    DELETE FROM app.plan_approvals
    WHERE run_id = reopened_id AND decided_by = 'sisu:deadline' AND decision = 'rejected';
    DELETE FROM app.gate_answers
    WHERE run_id = reopened_id AND answered_by = 'sisu:deadline' AND answer IS NULL;
    PERFORM set_config('sisu.reopen', '', true);
    UPDATE app.human_gates gate
    SET deadline_at = clock_timestamp() + least(greatest(gate.deadline_at - gate.created_at, shortest), longest)
    WHERE run_id = reopened_id AND EXISTS (
        SELECT FROM app.passed_deadlines passed
        WHERE passed.run_id = gate.run_id AND passed.gate_key = gate.gate_key
          AND passed.deadline_at = gate.deadline_at);
    RETURN reopened;
END $$;
COMMENT ON FUNCTION app.reopen_gates IS
    'opens the gates of a run whose deadlines passed with a rejection or without an answer; returns their number';
