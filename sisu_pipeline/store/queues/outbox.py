"""The outbox: runs whose next segment nobody has asked for yet. The rows are the queue; sensors read them."""

from collections.abc import Sequence

from resources.database import Connection, Row
from sql import query


def unrequested(connection: Connection, limit: int) -> list[Row]:
    """Runs that Dagster has not been asked for, the most urgent first."""
    return connection.execute(query("runs.unrequested"), {"limit": limit}).fetchall()


def decided(connection: Connection, limit: int) -> list[Row]:
    """Decisions and answers to act on, wherever there are any; costs a look at every run that waits."""
    rows = connection.execute(query("runs.decided"), {"limit": limit})
    return decided_on(connection, [row["id"] for row in rows])


def decided_on(connection: Connection, run_ids: Sequence[str]) -> list[Row]:
    """Those on these runs, oldest first: `waits`, the run is to go on; `unreported`, tell lineage."""
    return connection.execute(query("runs.decided_on"), {"run_ids": list(run_ids)}).fetchall()


def to_close(connection: Connection) -> list[Row]:
    """Canceled runs whose ends are not tied up yet."""
    return connection.execute(query("runs.to_close"), {"limit": 1}).fetchall()


def mark_reported(connection: Connection, run_ids: Sequence[str]) -> None:
    """Lineage has been told of the decisions on these runs."""
    connection.execute(query("runs.mark_reported"), {"run_ids": list(run_ids)})


def mark_requested(connection: Connection, workflow_ids: Sequence[str]) -> None:
    """Remember that these have been asked for; without effect for a while, they are asked for again."""
    connection.execute(query("runs.mark_requested"), {"workflow_ids": list(workflow_ids)})
