"""A change to the world of `world.py`, as statements.

`%(waiting)s` is the id of the run named so, `%(waiting_intent)s` its workflow id. The database's own defences
(triggers, foreign keys) are off; a constraint that would refuse is dropped first.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """What happens to the world."""

    name: str
    statements: tuple[str, ...]


@dataclass(frozen=True)
class Fault(Change):
    """A change that must not happen, and the law that must report it."""

    law: str


def fault(law: str, name: str, *statements: str) -> Fault:
    return Fault(name, statements, law)


def legal(name: str, *statements: str) -> Change:
    return Change(name, statements)


ZEROS = "repeat('0', 64)"

ADD_RECEIPT = (
    "INSERT INTO app.mock_receipts (receipt_key, run_id, step_id, payload_hash, idempotency_key, first_attempt, "
    f"last_attempt) VALUES ({ZEROS}, %({{0}})s, 'ExecuteST', {ZEROS}, {ZEROS}, 1, 1)"
)
