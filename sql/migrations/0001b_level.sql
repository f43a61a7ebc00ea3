-- Adds what the first version of 0001_app.sql lacked. Changes nothing in a database that a later version made.
ALTER TABLE app.runs ADD COLUMN IF NOT EXISTS requested_at timestamptz;
COMMENT ON COLUMN app.runs.requested_at IS 'when the current segment was last enqueued; null before the first time';
CREATE INDEX IF NOT EXISTS runs_by_status ON app.runs (status);

COMMENT ON COLUMN app.artifacts.inline IS 'the content, or {"blob": sha256} of its canonical JSON in the blob store';

ALTER TABLE app.plan_approvals ADD COLUMN IF NOT EXISTS reported_at timestamptz;
COMMENT ON COLUMN app.plan_approvals.reported_at IS 'when the decision was reported to Dagster (asset plan_approval)';
CREATE INDEX IF NOT EXISTS plan_approvals_unreported ON app.plan_approvals (decided_at) WHERE reported_at IS NULL;
