"""The DBOS queues `intentQ` and `sbxQ` and the tasks on them. All private use of DBOS is in this package."""
