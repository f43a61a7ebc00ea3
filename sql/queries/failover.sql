-- wait_for_standby --
-- From now on a commit waits until a standby has it on disk.
ALTER SYSTEM SET synchronous_standby_names = '*'

-- work_alone --
-- From now on a commit does not wait for a standby: the server has none.
ALTER SYSTEM SET synchronous_standby_names = ''

-- reload --
-- Apply the server's changed configuration.
SELECT pg_reload_conf()

-- standby --
-- The standby for which commits wait; no row while there is none.
SELECT pid FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'

-- next_transaction --
-- The number of the next transaction that writes: it grows when anything is written.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS xid

-- facts --
-- What clients were told or could read since a moment: decisions, steps and results, each with the time of its commit.
SELECT 'decision' AS kind, run_id AS id, decided_at AS at FROM app.plan_approvals WHERE decided_at >= %(since)s
UNION ALL SELECT 'step', run_id || '/' || step_id || '/' || attempt, finished_at FROM app.run_steps
    WHERE finished_at >= %(since)s
UNION ALL SELECT 'result', task_key, created_at FROM app.sbx_runs WHERE created_at >= %(since)s

-- clock --
-- The server's clock.
SELECT clock_timestamp() AS now

-- next_output --
-- The next number of live output: its table is unlogged, and a promoted server must number it all the same.
SELECT nextval('app.task_output_id_seq') AS number
