"""What chaos does to the system: faults of every kind, drawn from one seed. Pure."""

import random
from dataclasses import dataclass
from enum import StrEnum

EVERY_S = 4.6
"""The mean pause between two faults."""
FIRST_AT_S = 3.0
_QUIET_AT_THE_END_S = 2.0


class Kind(StrEnum):
    """A kind of fault."""

    KILL_INTENT_WORKER = "SIGKILL intent worker"
    KILL_INTENT_GROUP = "SIGKILL intent workers, whole group"
    KILL_SANDBOX_WORKER = "SIGKILL sandbox worker"
    KILL_SANDBOX_GROUP = "SIGKILL sandbox workers, whole group"
    KILL_API = "SIGKILL API"
    KILL_DAEMON = "SIGKILL daemon"
    KILL_CODE_SERVER = "SIGKILL code server"
    KILL_WEBSERVER = "SIGKILL webserver"
    FREEZE_INTENT_WORKER = "SIGSTOP intent worker past its takeover"
    FREEZE_SANDBOX_WORKER = "SIGSTOP sandbox worker past its takeover"
    FREEZE_API = "SIGSTOP API"
    FREEZE_DAEMON = "SIGSTOP daemon"
    TERMINATE_BACKENDS = "pg_terminate_backend"
    KILL_BACKEND = "SIGKILL Postgres backend"
    RESTART_POSTGRES = "Postgres stopped, immediate"
    KILL_EVERYTHING = "SIGKILL everything, supervisor too"


# Of a hundred faults.
_WEIGHTS = {
    Kind.KILL_INTENT_WORKER: 16,
    Kind.KILL_INTENT_GROUP: 5,
    Kind.KILL_SANDBOX_WORKER: 14,
    Kind.KILL_SANDBOX_GROUP: 4,
    Kind.KILL_API: 8,
    Kind.KILL_DAEMON: 6,
    Kind.KILL_CODE_SERVER: 5,
    Kind.KILL_WEBSERVER: 4,
    Kind.FREEZE_INTENT_WORKER: 7,
    Kind.FREEZE_SANDBOX_WORKER: 6,
    Kind.FREEZE_API: 4,
    Kind.FREEZE_DAEMON: 4,
    Kind.TERMINATE_BACKENDS: 9,
    Kind.KILL_BACKEND: 3,
    Kind.RESTART_POSTGRES: 4,
    Kind.KILL_EVERYTHING: 1,
}
_FROZEN_S = {
    # Recovery gives a silent worker up after 3.5 s; it wakes when others have its work.
    Kind.FREEZE_INTENT_WORKER: (5.5, 9.0),
    Kind.FREEZE_SANDBOX_WORKER: (5.5, 9.0),
    Kind.FREEZE_API: (0.5, 3.0),
    Kind.FREEZE_DAEMON: (0.5, 3.0),
}
_MOST_BACKENDS = 6


@dataclass(frozen=True)
class Planned:
    """A fault to come: seconds after the stream began, its kind, and its victims by rank among those there are.

    `seconds` is how long a frozen process sleeps, 0 for other kinds.
    """

    at_s: float
    kind: Kind
    ranks: tuple[int, ...]
    seconds: float = 0.0


def draw(seed: int, seconds: float) -> list[Planned]:
    """The faults of a seed, in their order, one every EVERY_S on average.

    Kinds are dealt like cards: each hundred faults have every kind, as often as its weight says.
    """
    dice = random.Random(f"chaos/{seed}/faults")  # noqa: S311 - a schedule is no secret
    planned: list[Planned] = []
    deck: list[Kind] = []
    now = FIRST_AT_S
    while now < seconds - _QUIET_AT_THE_END_S:
        if not deck:
            deck = dice.sample(list(_WEIGHTS), sum(_WEIGHTS.values()), counts=list(_WEIGHTS.values()))
        kind = deck.pop()
        victims = dice.randint(1, _MOST_BACKENDS) if kind is Kind.TERMINATE_BACKENDS else 1
        ranks = tuple(dice.randrange(1000) for _ in range(victims))
        frozen = dice.uniform(*_FROZEN_S[kind]) if kind in _FROZEN_S else 0.0
        planned.append(Planned(round(now, 3), kind, ranks, round(frozen, 3)))
        now += dice.uniform(0.3 * EVERY_S, 1.7 * EVERY_S)
    return planned
