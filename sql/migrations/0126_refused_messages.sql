-- A message of the webhook that is not sent again: the receiver refused it, or the last attempt failed.
ALTER TABLE app.escalations ADD COLUMN gave_up_at timestamptz;
COMMENT ON COLUMN app.escalations.gave_up_at IS
    'when delivery ended without success; `last_error` has the reason, and the message is not sent again';
CREATE INDEX escalations_ended ON app.escalations ((coalesce(delivered_at, gave_up_at)) DESC)
    WHERE delivered_at IS NOT NULL OR gave_up_at IS NOT NULL;
DROP INDEX app.escalations_to_deliver;
CREATE INDEX escalations_to_deliver ON app.escalations (next_attempt_at)
    WHERE delivered_at IS NULL AND gave_up_at IS NULL;
