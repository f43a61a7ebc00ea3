-- snapshot --
-- Read one snapshot of the database, read only. The first statement of its transaction.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY

-- plan_for_speed --
-- For this transaction: compiling a plan costs more than it saves here, and a law may sort in memory.
SELECT set_config('jit', 'off', true), set_config('work_mem', '64MB', true)

-- exists --
-- Whether a table exists. DBOS creates its tables only where it is used.
SELECT to_regclass(%(table)s) IS NOT NULL AS present
