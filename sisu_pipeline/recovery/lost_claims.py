"""What a worker has claimed and knows nothing of.

DBOS claims queued workflows with a COMMIT. When the answer to it is lost with the connection, the claim stands and
nobody executes what was claimed: this worker goes on with its next claim, and no other one may take it from a
worker that lives. So a worker gives back itself what it has not begun.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from resources.database import Database
from sisu_pipeline.queueing import dbos_queues
from sql import query

LOOK_EVERY_SECONDS = 2.0
BEGUN_WITHIN_SECONDS = 5.0
"""How long a claim may stand before it is begun. A claim given back too early would be executed twice."""


@dataclass
class Claims:
    """A worker's claims in the database beside what it executes, as its own clock has seen them."""

    database: Database
    executor_id: str
    executing: Callable[[], Collection[str]]
    """The ids of the workflows this process executes."""
    _looked: float = 0.0
    _strange: dict[str, float] = field(default_factory=dict)

    def give_back(self) -> list[str]:
        """Give back what was claimed and not begun; returns workflow ids. Most calls do not look."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_SECONDS:
            return []
        self._looked = now
        with self.database.connect() as connection:
            rows = connection.execute(
                query("segments.held_workflows"), {"executor_id": self.executor_id}
            ).fetchall()
        # Asked after the rows were read: what has begun meanwhile is known by now.
        begun = set(self.executing())
        strange = [row["workflow_uuid"] for row in rows if row["workflow_uuid"] not in begun]
        self._strange = {workflow_id: self._strange.get(workflow_id, now) for workflow_id in strange}
        return [
            workflow_id
            for workflow_id, since in self._strange.items()
            if now - since > BEGUN_WITHIN_SECONDS
            and dbos_queues.requeue(self.database, workflow_id, self.executor_id)
        ]
