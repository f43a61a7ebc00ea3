-- snapshot --
-- Judge one moment of the database, and change nothing. First statement of its transaction.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY

-- plan_for_speed --
-- For this transaction: compiling a plan costs more than it saves here, and a law may sort in memory.
SELECT set_config('jit', 'off', true), set_config('work_mem', '64MB', true)

-- exists --
-- Whether a table is there: DBOS makes its own, and only where it is used.
SELECT to_regclass(%(table)s) IS NOT NULL AS present
