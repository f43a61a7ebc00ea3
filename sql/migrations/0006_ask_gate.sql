-- The ask gate: a question with a typed form that waits between CompileST and ApplyPatchST.

ALTER TABLE app.human_gates ADD COLUMN form jsonb;
COMMENT ON COLUMN app.human_gates.form IS 'ask gates: {question, schema}, the schema being JSON Schema 2020-12';

CREATE TABLE app.gate_answers (
    run_id text NOT NULL REFERENCES app.runs (id),
    gate_key text NOT NULL,
    answer jsonb,
    answered_by text NOT NULL CHECK (answered_by <> ''),
    answered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, gate_key),
    FOREIGN KEY (run_id, gate_key) REFERENCES app.human_gates (run_id, gate_key)
);
COMMENT ON COLUMN app.gate_answers.answer IS 'null: the deadline passed without an answer';
CREATE TRIGGER announce_answer AFTER INSERT ON app.gate_answers
    FOR EACH ROW EXECUTE FUNCTION app.announce_decision();

ALTER TABLE app.runs DROP CONSTRAINT runs_next_action_check;
ALTER TABLE app.runs ADD CONSTRAINT runs_next_action_check
    CHECK (next_action IN ('APPROVE_PLAN', 'ANSWER', 'REPAIR', 'NONE'));
