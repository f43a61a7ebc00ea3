-- lock --
-- One segment of an intent at a time, on any machine. Session-level: freed when its process dies.
SELECT pg_advisory_lock(hashtextextended('sisu:segment:' || %(workflow_id)s, 0))

-- holder --
-- Which backend holds an intent's lock, if any.
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND granted
  AND ((classid::bigint << 32) | objid::bigint) = hashtextextended('sisu:segment:' || %(workflow_id)s, 0)
