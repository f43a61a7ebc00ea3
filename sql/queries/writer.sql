-- timeline --
-- Which cluster this server belongs to, and on which timeline it writes: each promotion of a standby begins a higher one.
-- No row on a server in recovery, which writes nothing.
SELECT s.system_identifier::text AS cluster,
       ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int AS timeline
FROM pg_control_system() AS s WHERE NOT pg_is_in_recovery()
