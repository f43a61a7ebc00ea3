"""Requeueing of workflows that a worker has claimed without receiving them.

DBOS claims queued workflows with a COMMIT. When the connection breaks before the COMMIT is acknowledged, the
claim can be in the database although the worker does not execute the workflow. No other worker takes work from a
worker that is alive, so the worker itself requeues what it has claimed and not started.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from resources.database import Database
from sisu_pipeline.queueing import dbos_queues
from sisu_pipeline.store.queues import worker_sessions

CHECK_INTERVAL_SECONDS = 2.0
START_TIMEOUT_SECONDS = 5.0
"""How long a claimed workflow may wait to be started. One that is requeued too early would be executed twice."""


@dataclass
class LostClaims:
    """A worker's search for its own lost claims, by its own clock."""

    database: Database
    executor_id: str
    executing: Callable[[], Collection[str]]
    """Returns the ids of the workflows that this process executes."""
    _checked_at: float = 0.0
    _seen_at: dict[str, float] = field(default_factory=dict)
    """When each claimed workflow that is not executed was seen for the first time."""

    def requeue(self) -> list[str]:
        """Requeue lost claims; returns their workflow ids. Does nothing before the next check is due."""
        now = time.monotonic()
        if now - self._checked_at < CHECK_INTERVAL_SECONDS:
            return []
        self._checked_at = now
        with self.database.connect() as connection:
            held = worker_sessions.held_workflows(connection, self.executor_id)
        # Read after the claims, so that a workflow that was started meanwhile is included.
        executing = set(self.executing())
        not_started = [claim.workflow_id for claim in held if claim.workflow_id not in executing]
        self._seen_at = {workflow_id: self._seen_at.get(workflow_id, now) for workflow_id in not_started}
        return [
            workflow_id
            for workflow_id, since in self._seen_at.items()
            if now - since > START_TIMEOUT_SECONDS
            and dbos_queues.requeue(self.database, workflow_id, self.executor_id)
        ]
