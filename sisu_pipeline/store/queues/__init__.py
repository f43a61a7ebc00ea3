"""Rows that drive the queues: the outbox, segments, worker sessions, queue depth. Imports no other store module."""
