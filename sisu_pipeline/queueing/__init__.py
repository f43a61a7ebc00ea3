"""The DBOS queues `intentQ` and `sbxQ`, and the tasks that run from them. All private DBOS API is used here."""
