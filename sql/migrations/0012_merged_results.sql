-- The results that the oracle compares with ExecuteST. A retry may end before its merge (canceled, or after an
-- infrastructure failure); its results are then newer than the committed ExecuteST.
CREATE VIEW app.sbx_merged AS
WITH executed AS (
    -- Every retry may run ExecuteST three times; the number of the attempt says which retry it belongs to.
    SELECT run_id, (max(attempt) - 1) / 3 AS retry FROM app.run_steps WHERE step_id = 'ExecuteST' GROUP BY run_id
)
SELECT DISTINCT ON (s.run_id, s.position) s.*
FROM app.sbx_runs s
JOIN executed e ON e.run_id = s.run_id
JOIN app.runs r ON r.id = s.run_id
-- A succeeded run has no results newer than its ExecuteST.
WHERE s.step_id = 'ExecuteST' AND (s.retry <= e.retry OR r.status = 'succeeded')
ORDER BY s.run_id, s.position, s.retry DESC;
COMMENT ON VIEW app.sbx_merged IS
    'the results that a run''s newest ExecuteST is made of: the newest of each place, up to the retry it belongs to';
