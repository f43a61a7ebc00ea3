-- record --
-- Record that a worker ended before a segment that it executed, once. The progress of the intent at that time makes
-- deaths in a row comparable: a death after more progress is the first of a new row.
INSERT INTO app.worker_deaths (segment_workflow_id, executor_id, subject, progress, is_counted)
VALUES (%(segment_workflow_id)s, %(executor_id)s, %(subject)s, app.run_progress(%(subject)s), %(is_counted)s)
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
