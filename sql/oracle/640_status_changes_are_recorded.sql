-- The status of a run is the last of its recorded changes. Each change starts from the status that the one before it led
-- to, the first one from queued. A person causes every cancellation and retry, by a channel.
-- source: docs/human-gate.md, Who did what
WITH changes AS (
    SELECT run_id, number, from_status, to_status, person, channel,
        lag(to_status, 1, 'queued') OVER (PARTITION BY run_id ORDER BY number) AS before,
        number = max(number) OVER (PARTITION BY run_id) AS is_last
    FROM app.run_changes
)
SELECT run_id, number, 'from ' || from_status || ' to ' || to_status || ', but it was ' || before AS detail
FROM changes WHERE from_status <> before AND channel <> 'migration'
UNION ALL
SELECT r.id, c.number, 'the run is ' || r.status || ', its last change led to ' || coalesce(c.to_status, 'queued')
FROM app.runs r
LEFT JOIN changes c ON c.run_id = r.id AND c.is_last
WHERE r.status <> coalesce(c.to_status, 'queued')
UNION ALL
SELECT run_id, number, to_status || ' by ' || person || ' through ' || channel
FROM changes
WHERE (channel IN ('engine', 'migration')) <> (person = 'sisu:engine')
ORDER BY run_id, number
