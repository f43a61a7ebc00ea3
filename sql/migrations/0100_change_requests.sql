-- A third decision at the approval gate: a person requests changes, and the coding agent plans again. Each request is a
-- round with a question of its own; its answer is the next version of the plan, for which the gate opens again.

ALTER TABLE app.recipes ADD COLUMN max_change_requests int NOT NULL DEFAULT 3
    CHECK (max_change_requests BETWEEN 0 AND 20);
COMMENT ON COLUMN app.recipes.max_change_requests IS 'how often people may request changes to the plan of a run';

ALTER TABLE app.human_interactions DROP CONSTRAINT human_interactions_kind_check;
ALTER TABLE app.human_interactions ADD CONSTRAINT human_interactions_kind_check
    CHECK (kind IN ('approve', 'reject', 'answer', 'timeout', 'request-changes'));

CREATE TABLE app.change_requests (
    run_id text NOT NULL REFERENCES app.runs (id),
    round int NOT NULL CHECK (round > 1),
    gate_key text NOT NULL,
    dedupe_key text NOT NULL,
    plan_sha256 text NOT NULL CHECK (plan_sha256 ~ '^[0-9a-f]{64}$'),
    comment text NOT NULL CHECK (length(comment) BETWEEN 1 AND 10000),
    requested_by text NOT NULL CHECK (requested_by <> ''),
    channel text NOT NULL CHECK (channel IN ('api', 'inbox', 'cli', 'dagster')),
    waits interval,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, round),
    FOREIGN KEY (run_id, gate_key, dedupe_key)
        REFERENCES app.human_interactions (run_id, gate_key, dedupe_key)
);
COMMENT ON TABLE app.change_requests IS 'requests for changes to a plan; round 1 is the question of CompileST';
COMMENT ON COLUMN app.change_requests.plan_sha256 IS 'the plan that the changes are requested for';
COMMENT ON COLUMN app.change_requests.waits IS
    'how long the gate waits once it opens again, as long as when it opened last; null: no deadline';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.change_requests
    FOR EACH ROW EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER not_emptied BEFORE TRUNCATE ON app.change_requests EXECUTE FUNCTION app.refuse_change();

ALTER TABLE app.plan_questions ADD COLUMN round int NOT NULL DEFAULT 1 CHECK (round > 0);
ALTER TABLE app.plan_questions DROP CONSTRAINT plan_questions_run_id_step_id_attempt_key;
ALTER TABLE app.plan_questions ADD UNIQUE (run_id, step_id, attempt, round);
COMMENT ON COLUMN app.plan_questions.round IS '1 for the plan that CompileST compiles, then one per request for changes';
CREATE INDEX plan_questions_of_rounds ON app.plan_questions (run_id, round) WHERE round > 1;
CREATE TRIGGER announce_round AFTER INSERT ON app.plan_questions
    FOR EACH ROW WHEN (NEW.round > 1) EXECUTE FUNCTION app.announce_decision();

ALTER TABLE app.plan_versions
    ADD COLUMN round int,
    ADD FOREIGN KEY (run_id, round) REFERENCES app.change_requests (run_id, round),
    ADD UNIQUE (run_id, round),
    DROP CONSTRAINT plan_versions_channel_check,
    ADD CONSTRAINT plan_versions_channel_check CHECK (channel IN ('api', 'inbox', 'cli', 'dagster', 'engine')),
    ADD CHECK ((round IS NOT NULL) = (edited_by = 'sisu:agent'));
COMMENT ON TABLE app.plan_versions IS
    'plans changed by people, or by an agent whose changes people requested; version 1 is CompileST''s output';
COMMENT ON COLUMN app.plan_versions.round IS 'the request for changes that the plan was made for; null for an edit';
COMMENT ON COLUMN app.plan_versions.channel IS
    'set by the server, engine for the plan of an agent; null for edits in earlier releases';

CREATE VIEW app.plan_rounds AS
SELECT request.run_id, request.round, request.gate_key, request.dedupe_key, request.plan_sha256, request.comment,
    request.requested_by, request.channel, request.requested_at,
    CASE WHEN made.run_id IS NOT NULL THEN 'planned'
         WHEN settled.op_key IS NOT NULL THEN 'failed'
         ELSE 'planning' END AS outcome,
    settled.error ->> 'message' AS error, made.version
FROM app.change_requests request
LEFT JOIN app.plan_versions made ON made.run_id = request.run_id AND made.round = request.round
LEFT JOIN LATERAL (
    SELECT call.op_key, call.error FROM app.plan_questions question
    JOIN app.opencode_calls call ON call.op_key = question.op_key AND call.is_final
    WHERE question.run_id = request.run_id AND question.round = request.round
    ORDER BY question.attempt DESC LIMIT 1
) settled ON true;
COMMENT ON VIEW app.plan_rounds IS 'requests for changes with what became of them; a run has one in planning at most';

-- While a plan is changed there is nothing to decide on, whichever release of a process asks.
CREATE FUNCTION app.refuse_decision_in_round() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM app.plan_rounds WHERE run_id = NEW.run_id AND outcome = 'planning') THEN
        RAISE EXCEPTION 'the plan of % is being changed', NEW.run_id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER not_in_round BEFORE INSERT ON app.plan_approvals
    FOR EACH ROW EXECUTE FUNCTION app.refuse_decision_in_round();

CREATE OR REPLACE VIEW app.run_history AS
SELECT run.id AS run_id, made.created_at AS at, made.action AS event, made.person, made.channel,
    NULL AS reason, NULL AS plan_sha256
FROM app.submissions made JOIN app.runs run ON run.intent_id = made.intent_id
UNION ALL
SELECT run_id, changed_at, to_status, person, channel, reason, NULL FROM app.run_changes
UNION ALL
SELECT run_id, created_at, kind, actor, channel,
    coalesce(payload ->> 'notes', payload ->> 'outcome', payload ->> 'comment'), plan_sha256
FROM app.human_interactions
UNION ALL
SELECT run_id, created_at, CASE WHEN round IS NULL THEN 'edit' ELSE 'revise' END, edited_by, channel,
    'version ' || version, plan_sha256
FROM app.plan_versions
UNION ALL
SELECT call.run_id, call.created_at, 'revise-failed', 'sisu:agent', 'engine', call.error ->> 'message', NULL
FROM app.opencode_calls call JOIN app.plan_questions question ON question.op_key = call.op_key
WHERE question.round > 1 AND call.is_final AND call.outcome = 'failed'
UNION ALL
SELECT run_id, decided_at, decision, decided_by, channel, notes, plan_sha256 FROM app.plan_approvals
UNION ALL
SELECT run_id, reopened_at, 'reopen', reopened_by, NULL, reason, plan_sha256 FROM app.passed_deadlines;
