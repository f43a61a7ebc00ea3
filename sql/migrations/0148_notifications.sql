-- Notifications: one event per gate that opens, is decided or passes its deadline and per end of a run, written in the
-- transaction of what it reports, with one delivery per receiver. Triggers write them, so that no process of any release
-- and no statement can change a run without its event.

CREATE TABLE app.notification_receivers (
    name text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
    events text[] NOT NULL,
    recipes text[],
    groups text[],
    partitions text[],
    tenants text[],
    remind_before interval NOT NULL,
    removed_at timestamptz
);
COMMENT ON TABLE app.notification_receivers IS
    'which receiver gets which events: the file of receivers as the notifier read it last, without addresses and secrets';
COMMENT ON COLUMN app.notification_receivers.recipes IS 'only runs of these recipes; null: of any';
COMMENT ON COLUMN app.notification_receivers.groups IS 'only runs whose policy names one of these groups as approvers';
COMMENT ON COLUMN app.notification_receivers.removed_at IS 'when the file lacked the receiver; null while it names it';

CREATE TABLE app.notification_events (
    id text PRIMARY KEY CHECK (id ~ '^ntf_[0-9a-f]{32}$'),
    run_id text NOT NULL REFERENCES app.runs (id),
    kind text NOT NULL CHECK (kind IN ('gate.opened', 'gate.reminder', 'gate.decided', 'gate.timed_out', 'run.ended')),
    gate_key text NOT NULL,
    occurrence text NOT NULL,
    facts jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (run_id, kind, gate_key, occurrence)
);
COMMENT ON TABLE app.notification_events IS 'what people are notified of, once per occurrence';
COMMENT ON COLUMN app.notification_events.id IS 'derived from run, kind, gate and occurrence: the same in every attempt';
COMMENT ON COLUMN app.notification_events.gate_key IS 'empty for the end of a run and for a decision before its gate opened';
COMMENT ON COLUMN app.notification_events.occurrence IS
    'which opening of the gate, which decision or which end of the run; a reminder adds its minutes';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.notification_events
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.notification_events EXECUTE FUNCTION app.refuse_change();

CREATE TABLE app.notification_deliveries (
    event_id text NOT NULL REFERENCES app.notification_events (id),
    receiver text NOT NULL REFERENCES app.notification_receivers (name),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN (
        'waiting', 'sending', 'delivered', 'refused', 'gave_up', 'dropped')),
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_error text,
    ended_at timestamptz,
    PRIMARY KEY (event_id, receiver),
    CHECK ((ended_at IS NULL) = (state IN ('waiting', 'sending')))
);
COMMENT ON TABLE app.notification_deliveries IS 'the outbox of notifications: one row per event and receiver';
COMMENT ON COLUMN app.notification_deliveries.state IS
    'refused: the receiver does not accept the message; gave_up: the last attempt failed; dropped: the receiver was removed';
COMMENT ON COLUMN app.notification_deliveries.attempts IS 'counted when an attempt starts';
CREATE INDEX notification_deliveries_open ON app.notification_deliveries (receiver, state, next_attempt_at)
    WHERE ended_at IS NULL;
CREATE INDEX notification_deliveries_failed ON app.notification_deliveries (receiver)
    WHERE state IN ('refused', 'gave_up');
CREATE INDEX notification_deliveries_ended ON app.notification_deliveries (receiver, ended_at DESC)
    WHERE ended_at IS NOT NULL;
CREATE TRIGGER append_only BEFORE DELETE ON app.notification_deliveries
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER fixed_columns BEFORE UPDATE OF event_id, receiver ON app.notification_deliveries
    FOR EACH ROW EXECUTE FUNCTION app.refuse_columns();
CREATE TRIGGER ended_once BEFORE UPDATE ON app.notification_deliveries
    FOR EACH ROW WHEN (OLD.ended_at IS NOT NULL) EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.notification_deliveries EXECUTE FUNCTION app.refuse_change();

CREATE FUNCTION app.add_notification(
    about_run text, event_kind text, about_gate text, which text, event_facts jsonb, reminds_before interval DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    new_id text := 'ntf_' || left(encode(sha256(
        convert_to(concat_ws(' ', about_run, event_kind, about_gate, which), 'UTF8')), 'hex'), 32);
BEGIN
    INSERT INTO app.notification_events (id, run_id, kind, gate_key, occurrence, facts)
    VALUES (new_id, about_run, event_kind, about_gate, which, jsonb_strip_nulls(event_facts))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO app.notification_deliveries (event_id, receiver)
    SELECT new_id, receiver.name
    FROM app.notification_receivers receiver
    JOIN app.runs run ON run.id = about_run
    JOIN app.recipes recipe ON recipe.id = run.recipe_id
    WHERE receiver.removed_at IS NULL AND event_kind = ANY(receiver.events)
      AND (receiver.recipes IS NULL OR recipe.name = ANY(receiver.recipes))
      AND (receiver.groups IS NULL OR run.approval_rules #> '{approvers,groups}' ?| receiver.groups)
      AND (receiver.partitions IS NULL OR run.queue_partition_key = ANY(receiver.partitions))
      AND (receiver.tenants IS NULL OR run.tenant_id = ANY(receiver.tenants))
      AND (reminds_before IS NULL OR receiver.remind_before = reminds_before);
    IF FOUND THEN
        PERFORM pg_notify('sisu_notifications', '');
    END IF;
END $$;
COMMENT ON FUNCTION app.add_notification IS
    'adds an event, once, with a delivery for each receiver that wants it; a reminder is for receivers of its lead time';

CREATE FUNCTION app.gate_opening(of_run text, of_gate text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT 1
        + (SELECT count(*) FROM app.passed_deadlines passed
           WHERE passed.run_id = of_run AND passed.gate_key = of_gate)
        + (SELECT count(*) FROM app.plan_rounds round
           WHERE round.run_id = of_run AND round.gate_key = of_gate AND round.outcome <> 'planning')
$$;
COMMENT ON FUNCTION app.gate_opening IS
    'how often a gate has opened: at first, again by an operator, and again after each request for changes';

CREATE FUNCTION app.gate_is_waiting(gate app.human_gates) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
            SELECT FROM app.runs run
            WHERE run.id = gate.run_id AND run.status IN ('queued', 'running', 'waiting_input', 'repairing'))
        AND CASE gate.purpose
            WHEN 'approve-plan' THEN NOT EXISTS (
                    SELECT FROM app.plan_approvals made WHERE made.run_id = gate.run_id)
                AND NOT EXISTS (
                    SELECT FROM app.plan_rounds round
                    WHERE round.run_id = gate.run_id AND round.outcome = 'planning')
            ELSE NOT EXISTS (
                SELECT FROM app.gate_answers made
                WHERE made.run_id = gate.run_id AND made.gate_key = gate.gate_key)
            END
$$;
COMMENT ON FUNCTION app.gate_is_waiting IS 'whether a gate needs a person now';

CREATE FUNCTION app.gate_facts(gate app.human_gates) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'purpose', gate.purpose,
        'deadlineAt', to_char(gate.deadline_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'onTimeout', gate.on_timeout,
        'planSha256', CASE gate.purpose WHEN 'approve-plan' THEN coalesce(
            (SELECT plan_sha256 FROM app.plan_versions WHERE run_id = gate.run_id ORDER BY version DESC LIMIT 1),
            gate.plan_sha256) END)
$$;

-- At the end of the transaction: a gate that is decided in the transaction that opens it needs no person.
CREATE FUNCTION app.notify_of_gate() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gate app.human_gates;
BEGIN
    SELECT * INTO gate FROM app.human_gates WHERE run_id = NEW.run_id AND gate_key = NEW.gate_key;
    IF app.gate_is_waiting(gate) THEN
        PERFORM app.add_notification(gate.run_id, 'gate.opened', gate.gate_key,
            app.gate_opening(gate.run_id, gate.gate_key)::text, app.gate_facts(gate));
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER notify AFTER INSERT OR UPDATE OF deadline_at ON app.human_gates
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.notify_of_gate();

CREATE FUNCTION app.notify_of_decision() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gate text := coalesce((
        SELECT gate_key FROM app.human_gates WHERE run_id = NEW.run_id AND purpose = 'approve-plan'), '');
    is_timeout boolean := NEW.decided_by = 'sisu:deadline';
BEGIN
    PERFORM app.add_notification(
        NEW.run_id, CASE WHEN is_timeout THEN 'gate.timed_out' ELSE 'gate.decided' END, gate,
        app.gate_opening(NEW.run_id, gate)::text,
        jsonb_build_object('purpose', 'approve-plan', 'decision', NEW.decision, 'person', NEW.decided_by,
            'channel', NEW.channel, 'notes', CASE WHEN NOT is_timeout THEN left(NEW.notes, 2000) END,
            'planSha256', NEW.plan_sha256));
    RETURN NULL;
END $$;
CREATE TRIGGER notify AFTER INSERT ON app.plan_approvals FOR EACH ROW EXECUTE FUNCTION app.notify_of_decision();

CREATE FUNCTION app.notify_of_answer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM app.add_notification(
        NEW.run_id, CASE WHEN NEW.answer IS NULL THEN 'gate.timed_out' ELSE 'gate.decided' END, NEW.gate_key,
        app.gate_opening(NEW.run_id, NEW.gate_key)::text,
        jsonb_build_object('purpose', 'ask-user', 'person', NEW.answered_by,
            'decision', CASE WHEN NEW.answer IS NULL THEN 'unanswered' ELSE 'answered' END));
    RETURN NULL;
END $$;
CREATE TRIGGER notify AFTER INSERT ON app.gate_answers FOR EACH ROW EXECUTE FUNCTION app.notify_of_answer();

CREATE FUNCTION app.notify_of_change_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM app.add_notification(
        NEW.run_id, 'gate.decided', NEW.gate_key, 'round ' || NEW.round,
        jsonb_build_object('purpose', 'approve-plan', 'decision', 'changes_requested', 'person', NEW.requested_by,
            'channel', NEW.channel, 'notes', left(NEW.comment, 2000), 'planSha256', NEW.plan_sha256));
    RETURN NULL;
END $$;
CREATE TRIGGER notify AFTER INSERT ON app.change_requests
    FOR EACH ROW EXECUTE FUNCTION app.notify_of_change_request();

CREATE FUNCTION app.notify_of_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM app.add_notification(
        NEW.run_id, 'run.ended', '', (SELECT retry_count + 1 FROM app.runs WHERE id = NEW.run_id)::text,
        jsonb_build_object('status', NEW.to_status, 'person', NEW.person, 'reason', left(NEW.reason, 2000)));
    RETURN NULL;
END $$;
CREATE TRIGGER notify AFTER INSERT ON app.run_changes
    FOR EACH ROW WHEN (NEW.to_status IN ('succeeded', 'failed', 'canceled', 'retries_exceeded'))
    EXECUTE FUNCTION app.notify_of_end();
