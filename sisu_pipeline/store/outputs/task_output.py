"""Live output of running tasks, for clients that watch a run; it is deleted after a minute."""

from collections.abc import Sequence
from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.store.records import execute, fetch_all

_MAX_PIECES = 500


@dataclass(frozen=True)
class Piece:
    """Some output of one task, as it appeared; `id` orders all pieces of a database (0 before it is stored)."""

    run_id: str
    task_key: str
    position: int
    kind: str
    chunk: str
    id: int = 0


def append(connection: Connection, pieces: Sequence[Piece]) -> None:
    """Store pieces and notify the clients that watch their runs."""
    execute(
        connection,
        "output.append",
        {
            "run_id": [piece.run_id for piece in pieces],
            "task_key": [piece.task_key for piece in pieces],
            "position": [piece.position for piece in pieces],
            "kind": [piece.kind for piece in pieces],
            "chunk": [piece.chunk for piece in pieces],
        },
    )
    execute(connection, "output.announce", {"run_ids": sorted({piece.run_id for piece in pieces})})


def trim(connection: Connection) -> int:
    """Delete pieces that are older than a minute; returns how many."""
    return execute(connection, "output.trim")


def after(connection: Connection, run_id: str, seen: int) -> list[Piece]:
    """The next pieces of a run after the piece with the id `seen`, in order, at most 500."""
    return fetch_all(connection, "output.after", Piece, {"run_id": run_id, "after": seen, "limit": _MAX_PIECES})
