-- Deadlines of gates, their outcome, and the outbox of the webhook.

ALTER TABLE app.human_gates
    ADD COLUMN deadline_at timestamptz,
    ADD COLUMN on_timeout text NOT NULL DEFAULT 'reject' CHECK (on_timeout IN ('reject', 'approve'));
COMMENT ON COLUMN app.human_gates.deadline_at IS 'null: no deadline';
CREATE INDEX human_gates_by_deadline ON app.human_gates (deadline_at) WHERE deadline_at IS NOT NULL;

CREATE TABLE app.escalations (
    run_id text NOT NULL REFERENCES app.runs (id),
    gate_key text NOT NULL,
    payload jsonb NOT NULL,
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at timestamptz,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, gate_key),
    FOREIGN KEY (run_id, gate_key) REFERENCES app.human_gates (run_id, gate_key)
);
COMMENT ON TABLE app.escalations IS 'the outbox of the escalation webhook; written with the outcome of the deadline';
CREATE INDEX escalations_to_deliver ON app.escalations (next_attempt_at) WHERE delivered_at IS NULL;
