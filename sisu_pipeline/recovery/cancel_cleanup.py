"""Tying up a canceled run: its patches taken back, its tasks dropped, its Dagster run ended (quirk N8 fixed).

Whoever cancels only writes the status. This runs where the workspace is and the engines are known, after the
segment that was working has let go, so that no step patches a file behind the roll-back.
"""

from collections.abc import Callable
from dataclasses import dataclass

from resources.database import Database, Row
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.queueing import dbos_queues
from sisu_pipeline.workflow import patching
from sisu_pipeline.workflow.dependencies import Dependencies
from sql import query

BATCH = 20


@dataclass(frozen=True)
class Closed:
    """A canceled run of which nothing is left; `patches` were taken back, `tasks` dropped from their queue."""

    run_id: str
    patches: int
    tasks: int


def close_canceled(dependencies: Dependencies, end_dagster_run: Callable[[str, str], None]) -> list[Closed]:
    """Close every canceled run whose segment has let go; `end_dagster_run` gets a Dagster run id and the reason."""
    with dependencies.database.connect() as connection:
        rows = connection.execute(query("runs.to_close"), {"limit": BATCH}).fetchall()
    return [closed for row in rows if (closed := _close(dependencies, row, end_dagster_run)) is not None]


def _close(dependencies: Dependencies, row: Row, end_dagster_run: Callable[[str, str], None]) -> Closed | None:
    with dependencies.database.connect(autocommit=True) as session:
        answer = session.execute(query("segments.try_lock"), {"workflow_id": row["workflow_id"]}).fetchone()
        # A segment whose session was cut off has lost its lock and works on until it sees that the run has ended.
        if answer is None or not answer["held"] or _is_executing(dependencies, row["workflow_id"]):
            return None
        workspace = patching.workspace_of(dependencies.workspaces, row["id"])
        crash_point("closing.roll_back.before")
        patches = patching.roll_back(dependencies.database, workspace, row["id"])
        crash_point("closing.roll_back.after")
        tasks = _drop_tasks(dependencies, row["workflow_id"])
        if row["dagster_run_id"] is not None:
            end_dagster_run(row["dagster_run_id"], row["error"])
        crash_point("closing.mark.before")
        session.execute(query("runs.mark_closed"), {"id": row["id"]})
    return Closed(row["id"], patches, tasks)


def _is_executing(dependencies: Dependencies, workflow_id: str) -> bool:
    if not dependencies.queues_tasks:
        return False
    with dependencies.database.connect() as connection:
        return bool(connection.execute(query("segments.executing"), {"workflow_id": workflow_id}).fetchone())


def _drop_tasks(dependencies: Dependencies, workflow_id: str) -> int:
    if not dependencies.queues_tasks:
        return 0
    waiting = _waiting(dependencies.database, workflow_id)
    dbos_queues.cancel(dependencies.database, waiting)
    return len(waiting)


def _waiting(database: Database, workflow_id: str) -> list[str]:
    """The run's segments and tasks that wait on their queues."""
    with database.connect() as connection:
        rows = connection.execute(query("segments.waiting_work"), {"workflow_id": workflow_id})
        return [row["workflow_uuid"] for row in rows]
