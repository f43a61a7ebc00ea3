"""Which sandboxes belong to this database, and which of them execute a task whose result is still needed."""

from collections.abc import Collection
from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.store.records import fetch_all, fetch_value


@dataclass(frozen=True)
class _WantedTask:
    run_id: str
    task_key: str


def deployment(connection: Connection) -> str:
    """A name that is unique to this database."""
    return str(fetch_value(connection, "sandboxes.deployment"))


def wanted(connection: Connection, tasks: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of the tasks (run id, task key) whose run has not ended and that have no result yet."""
    ordered = sorted(tasks)
    parameters = {"run_id": [run_id for run_id, _ in ordered], "task_key": [key for _, key in ordered]}
    found = fetch_all(connection, "sandboxes.wanted", _WantedTask, parameters)
    return {(task.run_id, task.task_key) for task in found}
