"""Which sandboxes belong to this database, and which of them somebody still waits for."""

from collections.abc import Collection

from resources.database import Connection
from sql import query


def deployment(connection: Connection) -> str:
    """A name no other database has."""
    row = connection.execute(query("sandboxes.deployment")).fetchone()
    assert row is not None
    return str(row["name"])


def wanted(connection: Connection, tasks: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of the tasks (run id, task key) whose run waits for their result."""
    asked = sorted(tasks)
    parameters = {"run_id": [run_id for run_id, _ in asked], "task_key": [key for _, key in asked]}
    return {(row["run_id"], row["task_key"]) for row in connection.execute(query("sandboxes.wanted"), parameters)}
