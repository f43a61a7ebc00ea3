"""The fault schedule of chaos: faults of every kind, drawn from one seed. Pure."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

MEAN_INTERVAL_S = 4.2
"""Mean time between two faults, without that of the outages."""
FIRST_AT_S = 3.0
_QUIET_AT_THE_END_S = 2.0


class FaultKind(StrEnum):
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
    FREEZE_POSTGRES = "SIGSTOP Postgres, all processes"
    EXHAUST_CONNECTIONS = "Postgres without a free connection"
    FILL_DISK = "disk full"
    STEP_CLOCK = "clock of a process three hours off"
    STEP_CLOCKS = "clocks of all processes three hours off"
    KILL_PLANNER_WORKER = "SIGKILL planner worker"
    KILL_PLANNER_GROUP = "SIGKILL planner workers, whole group"
    FREEZE_PLANNER_WORKER = "SIGSTOP planner worker past its takeover"
    KILL_AGENT = "SIGKILL agent"
    KILL_RELAY = "SIGKILL relay of an agent's sandbox"
    KILL_SPAWNER = "SIGKILL starter of the agents' sandboxes"
    KILL_MODEL = "SIGKILL scripted model"


# Out of 114, without those of LIVE_FAULTS.
_WEIGHTS = {
    FaultKind.KILL_INTENT_WORKER: 16,
    FaultKind.KILL_INTENT_GROUP: 5,
    FaultKind.KILL_SANDBOX_WORKER: 14,
    FaultKind.KILL_SANDBOX_GROUP: 4,
    FaultKind.KILL_API: 8,
    FaultKind.KILL_DAEMON: 6,
    FaultKind.KILL_CODE_SERVER: 5,
    FaultKind.KILL_WEBSERVER: 4,
    FaultKind.FREEZE_INTENT_WORKER: 7,
    FaultKind.FREEZE_SANDBOX_WORKER: 6,
    FaultKind.FREEZE_API: 4,
    FaultKind.FREEZE_DAEMON: 4,
    FaultKind.TERMINATE_BACKENDS: 9,
    FaultKind.KILL_BACKEND: 3,
    FaultKind.RESTART_POSTGRES: 4,
    FaultKind.KILL_EVERYTHING: 1,
    FaultKind.FREEZE_POSTGRES: 2,
    FaultKind.EXHAUST_CONNECTIONS: 3,
    FaultKind.FILL_DISK: 3,
    FaultKind.STEP_CLOCK: 4,
    FaultKind.STEP_CLOCKS: 2,
}
_LIVE_WEIGHTS = _WEIGHTS | {
    FaultKind.KILL_PLANNER_WORKER: 12,
    FaultKind.KILL_PLANNER_GROUP: 5,
    FaultKind.FREEZE_PLANNER_WORKER: 5,
    FaultKind.KILL_AGENT: 14,
    FaultKind.KILL_RELAY: 6,
    FaultKind.KILL_SPAWNER: 4,
    FaultKind.KILL_MODEL: 6,
}
KILLS: Mapping[str, tuple[FaultKind, ...]] = {
    "intent-worker": (FaultKind.KILL_INTENT_WORKER, FaultKind.KILL_INTENT_GROUP),
    "sandbox-worker": (FaultKind.KILL_SANDBOX_WORKER, FaultKind.KILL_SANDBOX_GROUP),
    "api": (FaultKind.KILL_API,),
    "daemon": (FaultKind.KILL_DAEMON,),
    "code-server": (FaultKind.KILL_CODE_SERVER,),
    "webserver": (FaultKind.KILL_WEBSERVER,),
    "postgres": (FaultKind.KILL_BACKEND, FaultKind.RESTART_POSTGRES),
    "everything": (FaultKind.KILL_EVERYTHING,),
    "planner-worker": (FaultKind.KILL_PLANNER_WORKER, FaultKind.KILL_PLANNER_GROUP),
    "agent": (FaultKind.KILL_AGENT,),
    "relay": (FaultKind.KILL_RELAY,),
    "spawner": (FaultKind.KILL_SPAWNER,),
    "model": (FaultKind.KILL_MODEL,),
}
"""The processes that `--kill` can name, and the faults that kill them."""

LIVE_FAULTS = frozenset(_LIVE_WEIGHTS) - frozenset(_WEIGHTS)
"""Faults that need a stack in which an agent plans."""

OUTAGES = frozenset({FaultKind.FREEZE_POSTGRES, FaultKind.EXHAUST_CONNECTIONS, FaultKind.FILL_DISK})
"""Faults that last for a while, during which no other fault is injected."""
CLOCK_STEPS = frozenset({FaultKind.STEP_CLOCK, FaultKind.STEP_CLOCKS})
"""Faults of clocks, which are right again after a while."""

_LASTS_S = {
    # Recovery declares a silent worker dead after 3.5 s: it wakes up after other workers have taken its work over.
    FaultKind.FREEZE_INTENT_WORKER: (5.5, 9.0),
    FaultKind.FREEZE_SANDBOX_WORKER: (5.5, 9.0),
    FaultKind.FREEZE_PLANNER_WORKER: (5.5, 9.0),
    FaultKind.FREEZE_API: (0.5, 3.0),
    FaultKind.FREEZE_DAEMON: (0.5, 3.0),
    FaultKind.FREEZE_POSTGRES: (5.0, 30.0),
    FaultKind.EXHAUST_CONNECTIONS: (3.0, 9.0),
    FaultKind.FILL_DISK: (3.0, 15.0),
    FaultKind.STEP_CLOCK: (5.0, 20.0),
    FaultKind.STEP_CLOCKS: (5.0, 20.0),
}
_MAX_BACKENDS = 6
_DISCONNECTING = (FaultKind.TERMINATE_BACKENDS, FaultKind.EXHAUST_CONNECTIONS)


def kill_problem(names: Sequence[str], *, live: bool) -> str | None:
    """Why these names cannot be killed, as a sentence; None when they can."""
    for name in names:
        if name not in KILLS:
            return f"unknown process {name!r} of --kill; choose from {', '.join(KILLS)}"
        if not live and LIVE_FAULTS.issuperset(KILLS[name]):
            return f"--kill {name} requires --live: without it, no coding agent runs"
    return None


@dataclass(frozen=True)
class PlannedFault:
    """A fault to inject: its time in seconds since the start of the stream, its kind, and its victims by rank.

    Ranks are taken modulo the number of candidates. `seconds` is the duration of a fault that ends, otherwise 0.
    """

    at_s: float
    kind: FaultKind
    ranks: tuple[int, ...]
    seconds: float = 0.0


def draw(seed: int, seconds: float, *, live: bool = False, kill: Sequence[str] = ()) -> list[PlannedFault]:
    """Draw the faults of a seed in chronological order, one every MEAN_INTERVAL_S on average.

    Kinds are drawn without replacement from a deck in which each has its weight. `live` adds the faults of a stack
    in which an agent plans; with `kill`, keys of KILLS, only these processes are killed.
    """
    weights = _LIVE_WEIGHTS if live else _WEIGHTS
    if kill:
        wanted = {fault for name in kill for fault in KILLS[name]}
        weights = {fault: weight for fault, weight in weights.items() if fault in wanted}
    rng = random.Random(f"chaos/{seed}/faults")  # noqa: S311 - a schedule is no secret
    planned: list[PlannedFault] = []
    deck: list[FaultKind] = []
    now = FIRST_AT_S
    while now < seconds - _QUIET_AT_THE_END_S:
        if not deck:
            deck = rng.sample(list(weights), sum(weights.values()), counts=list(weights.values()))
        kind = deck.pop()
        victims = rng.randint(1, _MAX_BACKENDS) if kind in _DISCONNECTING else 1
        ranks = tuple(rng.randrange(1000) for _ in range(victims))
        lasting = rng.uniform(*_LASTS_S[kind]) if kind in _LASTS_S else 0.0
        planned.append(PlannedFault(round(now, 3), kind, ranks, round(lasting, 3)))
        now += lasting if kind in OUTAGES else 0.0
        now += rng.uniform(0.3 * MEAN_INTERVAL_S, 1.7 * MEAN_INTERVAL_S)
    return planned
