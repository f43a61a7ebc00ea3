"""Live output of running tasks: for whoever watches now, gone a minute later."""

from collections.abc import Sequence
from dataclasses import dataclass

from resources.database import Connection
from sql import query

_MOST_PIECES = 500


@dataclass(frozen=True)
class Piece:
    """Some output of one task, as it appeared; `id` orders all pieces of a database (0: not kept yet)."""

    run_id: str
    task_key: str
    position: int
    kind: str
    chunk: str
    id: int = 0


def append(connection: Connection, pieces: Sequence[Piece]) -> None:
    """Keep pieces and wake whoever watches their runs."""
    connection.execute(
        query("output.append"),
        {
            "run_id": [piece.run_id for piece in pieces],
            "task_key": [piece.task_key for piece in pieces],
            "position": [piece.position for piece in pieces],
            "kind": [piece.kind for piece in pieces],
            "chunk": [piece.chunk for piece in pieces],
        },
    )
    connection.execute(query("output.announce"), {"run_ids": sorted({piece.run_id for piece in pieces})})


def trim(connection: Connection) -> int:
    """Drop what is older than a minute; returns how many pieces."""
    return connection.execute(query("output.trim")).rowcount


def after(connection: Connection, run_id: str, seen: int) -> list[Piece]:
    """The next pieces of a run after piece `seen`, in order; 500 at most."""
    parameters = {"run_id": run_id, "after": seen, "limit": _MOST_PIECES}
    return [
        Piece(run_id, row["task_key"], row["position"], row["kind"], row["chunk"], row["id"])
        for row in connection.execute(query("output.after"), parameters)
    ]
