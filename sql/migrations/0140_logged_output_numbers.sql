-- The numbers of live output come from a logged sequence. Its table is unlogged, so the sequence was too, and its file
-- can be empty on a promoted standby ("bad magic number in sequence"): no output could be stored after a failover.
-- Before PostgreSQL 15 every sequence is logged.
DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 150000 THEN
        EXECUTE 'ALTER SEQUENCE app.task_output_id_seq SET LOGGED';
    END IF;
END
$$;
