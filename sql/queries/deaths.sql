-- record --
-- Record that a worker ended before a segment that it executed, once. The progress of the intent at that time makes
-- deaths in a row comparable: a death after more progress is the first of a new row. When Postgres has started or
-- recovered since the segment was claimed, which ends every session, its death does not count. (The start of the
-- checkpointer shows a recovery to a superuser or a member of pg_read_all_stats, that of the server to everyone.)
INSERT INTO app.worker_deaths (segment_workflow_id, executor_id, subject, progress, is_counted)
SELECT %(segment_workflow_id)s, %(executor_id)s, %(subject)s, app.run_progress(%(subject)s),
       %(is_counted)s AND NOT EXISTS (
           SELECT FROM dbos.workflow_status claimed
           WHERE claimed.workflow_uuid = %(segment_workflow_id)s AND claimed.status = 'PENDING'
             AND to_timestamp(claimed.updated_at / 1000.0) < greatest(pg_postmaster_start_time(), (
                 SELECT max(backend_start) FROM pg_stat_activity WHERE backend_type = 'checkpointer')))
ON CONFLICT (segment_workflow_id, executor_id) DO NOTHING

-- in_a_row --
-- The number of deaths since the last progress of the intent.
SELECT count(*) AS deaths FROM app.worker_deaths
WHERE subject = %(subject)s AND is_counted AND progress = app.run_progress(%(subject)s)

-- parked --
-- Runs that ended because their workers died, the last one first. The error of such a run begins with `parked`.
SELECT id, error, updated_at AS parked_at FROM app.runs
WHERE status = 'retries_exceeded' AND starts_with(error, 'parked: ')
ORDER BY updated_at DESC, id LIMIT %(limit)s
