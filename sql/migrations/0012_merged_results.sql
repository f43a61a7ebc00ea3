-- What the oracle compares with ExecuteST: a retry may end before it merged anything (canceled, or given up on by the
-- infrastructure). Its results are then newer than the ExecuteST that stands.
CREATE VIEW app.sbx_merged AS
WITH executed AS (
    -- Three tries for each retry are counted on (reference §C6): an attempt says which retry it belongs to.
    SELECT run_id, (max(attempt) - 1) / 3 AS retry FROM app.run_steps WHERE step_id = 'ExecuteST' GROUP BY run_id
)
SELECT DISTINCT ON (s.run_id, s.position) s.*
FROM app.sbx_runs s
JOIN executed e ON e.run_id = s.run_id
JOIN app.runs r ON r.id = s.run_id
-- A run that succeeded has nothing newer than its ExecuteST.
WHERE s.step_id = 'ExecuteST' AND (s.retry <= e.retry OR r.status = 'succeeded')
ORDER BY s.run_id, s.position, s.retry DESC;
COMMENT ON VIEW app.sbx_merged IS
    'the results that a run''s newest ExecuteST is made of: the newest of each place, up to the retry it belongs to';
