-- Only app.move_run changes the status of a run. It names the change in a setting that lasts no longer than its UPDATE;
-- the trigger refuses every other change, so that neither a new statement nor psql bypasses the state machine by mistake.

CREATE FUNCTION app.move_run(
    moved_id text, from_status text, to_status text, new_error text, new_action text, segments int, retries int
) RETURNS SETOF app.runs LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('sisu.move', moved_id || ' ' || to_status, true);
    RETURN QUERY
        UPDATE app.runs
        SET status = to_status, error = new_error, next_action = new_action,
            segment = segment + segments, retry_count = retry_count + retries,
            dagster_run_id = CASE WHEN retries > 0 THEN NULL ELSE dagster_run_id END,
            requested_at = CASE WHEN retries + segments > 0 THEN NULL ELSE requested_at END
        WHERE id = moved_id AND status = from_status
        RETURNING *;
    PERFORM set_config('sisu.move', '', true);
END $$;
COMMENT ON FUNCTION app.move_run IS
    'changes a run''s status from the one it was read with; returns its row, or none when another change came first';

CREATE OR REPLACE FUNCTION app.guard_run_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> OLD.status THEN
        IF current_setting('sisu.move', true) IS DISTINCT FROM NEW.id || ' ' || NEW.status
            -- The statement of release 0.1.0, whose processes run beside newer ones during a rolling upgrade.
            AND NOT starts_with(current_query(), '-- Change a run''s status. The trigger refuses what')
        THEN
            RAISE EXCEPTION 'run % is %; only app.move_run changes a status', OLD.id, OLD.status
                USING ERRCODE = 'restrict_violation';
        END IF;
        IF NOT EXISTS (
            SELECT 1 FROM app.run_transitions WHERE from_status = OLD.status AND to_status = NEW.status
        ) THEN
            RAISE EXCEPTION 'run % is %; it cannot become %', OLD.id, OLD.status, NEW.status
                USING ERRCODE = 'check_violation';
        END IF;
        IF NEW.status = 'repairing' AND NEW.retry_count <= OLD.retry_count THEN
            RAISE EXCEPTION 'run % reopens only with a higher retry_count', OLD.id USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END $$;

CREATE FUNCTION app.refuse_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a run starts queued, not %', NEW.status USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER starts_queued BEFORE INSERT ON app.runs
    FOR EACH ROW WHEN (NEW.status <> 'queued') EXECUTE FUNCTION app.refuse_status();
