-- The inbox lists the runs that ended last; without this index it sorts all ended runs on every refresh.
CREATE INDEX runs_finished ON app.runs (updated_at DESC, id)
    WHERE status IN ('succeeded', 'failed', 'canceled', 'retries_exceeded');
