"""Faults, done to a running stack: kill, freeze, cut off, restart (`chaos_schedule` says what and when)."""

import heapq
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psutil
import psycopg

from sisu_pipeline.proof.chaos.fault_schedule import Kind, Planned
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_stack import LabFailed
from sisu_pipeline.proof.harness.running_stack import Stage

_BACK_WITHIN_S = 40.0
_PAUSE_S = 0.1
_SHORTEST_PAUSE_S = 1.0

_KILLED = {
    Kind.KILL_API: "api",
    Kind.KILL_DAEMON: "daemon",
    Kind.KILL_CODE_SERVER: "code_server",
    Kind.KILL_WEBSERVER: "webserver",
}
_KILLED_GROUPS = {Kind.KILL_INTENT_GROUP: "intent_worker", Kind.KILL_SANDBOX_GROUP: "sandbox_worker"}
_KILLED_WORKERS = {Kind.KILL_INTENT_WORKER: "intent_worker", Kind.KILL_SANDBOX_WORKER: "sandbox_worker"}
_FROZEN_WORKERS = {Kind.FREEZE_INTENT_WORKER: "intent_worker", Kind.FREEZE_SANDBOX_WORKER: "sandbox_worker"}
_FROZEN = {Kind.FREEZE_API: "api", Kind.FREEZE_DAEMON: "daemon"}
_STOPS_THE_DAEMON = (Kind.KILL_DAEMON, Kind.KILL_CODE_SERVER, Kind.FREEZE_DAEMON)


@dataclass(frozen=True)
class Struck:
    """A fault that was done, or that found no victim; `affected` are the intents whose work it stopped."""

    planned: Planned
    at_s: float
    when: datetime
    victims: tuple[str, ...]
    affected: tuple[str, ...]

    @property
    def hit(self) -> bool:
        """Whether there was a victim."""
        return bool(self.victims)


@dataclass
class Monkey:
    """Strikes a stack by a schedule, and wakes what it froze."""

    stage: Stage
    say: Callable[[str], None]
    struck: list[Struck] = field(default_factory=list)
    _frozen: list[tuple[float, int]] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def rage(self, schedule: Sequence[Planned], seconds: float) -> None:
        """Do every fault at its time, or as soon after as possible; returns after `seconds`, nothing frozen.

        Raises LabFailed when the stack does not come back after it was killed.
        """
        self._began = time.monotonic()
        try:
            for planned in schedule:
                # What a restart of everything has delayed is not done all at once.
                latest = self.struck[-1].at_s if self.struck else 0.0
                self._wait_until(max(planned.at_s, latest + _SHORTEST_PAUSE_S))
                self.strike(planned)
            self._wait_until(seconds)
            self._wait_until(max([seconds, *(at - self._began for at, _ in self._frozen)]))
        finally:
            self._thaw(everything=True)

    def strike(self, planned: Planned) -> None:
        """One fault, and what it did."""
        affected, blow = self._aim(planned)
        when, at = datetime.now(UTC), time.monotonic() - self._began
        victims = blow()
        self.struck.append(Struck(planned, round(at, 3), when, tuple(map(str, victims)), affected))
        self.say(f"{planned.kind}{'' if victims else ' (nobody there)'}")

    def _aim(self, planned: Planned) -> tuple[tuple[str, ...], Callable[[], Sequence[object]]]:
        """The intents that the victims work on, and the blow itself, which returns the victims."""
        kind = planned.kind
        if kind is Kind.KILL_EVERYTHING:
            return self._held_by(None), lambda: self._kill_everything(planned)
        if kind is Kind.RESTART_POSTGRES:
            return self._held_by(None), self._restart_postgres
        if kind in (Kind.TERMINATE_BACKENDS, Kind.KILL_BACKEND):
            return self._held_by(None), lambda: self._cut_off(planned)
        pids = self._pids(planned)
        if kind in (*_KILLED_WORKERS, *_KILLED_GROUPS, *_FROZEN_WORKERS):
            affected = self._held_by(pids)
        else:
            affected = self._unasked() if kind in _STOPS_THE_DAEMON else ()
        number = signal.SIGSTOP if planned.seconds else signal.SIGKILL
        return affected, lambda: self._signal(pids, number, planned.seconds)

    def _pids(self, planned: Planned) -> list[int]:
        kind = planned.kind
        if kind in _KILLED_GROUPS:
            return [process.pid for process in self._group(_KILLED_GROUPS[kind])]
        workers = _KILLED_WORKERS.get(kind) or _FROZEN_WORKERS.get(kind)
        candidates = self._group(workers)[1:] if workers else self._group(_KILLED.get(kind) or _FROZEN[kind])[:1]
        asleep = {pid for _, pid in self._frozen}
        pids = sorted(process.pid for process in candidates if not planned.seconds or process.pid not in asleep)
        return [pids[planned.ranks[0] % len(pids)]] if pids else []

    def _group(self, component: str) -> list[psutil.Process]:
        with suppress(psutil.Error):
            return stack_processes.by_component(self.stage.stack)[component]
        return []

    def _signal(self, pids: Sequence[int], number: signal.Signals, seconds: float) -> list[int]:
        hit = [pid for pid in pids if stack_processes.send(pid, number)]
        if number is signal.SIGSTOP:
            for pid in hit:
                heapq.heappush(self._frozen, (time.monotonic() + seconds, pid))
        return hit

    def _cut_off(self, planned: Planned) -> list[int]:
        """End the chosen connections: politely from Postgres' side, or by killing the process that serves one."""
        with suppress(psycopg.Error):
            backends = [int(row["pid"]) for row in self.stage.rows("labs.backends")]
            chosen = sorted({backends[rank % len(backends)] for rank in planned.ranks}) if backends else []
            if planned.kind is Kind.TERMINATE_BACKENDS:
                self.stage.rows("labs.terminate", pids=chosen)
                return chosen
            # Postgres takes this for a crash: it ends every session and recovers.
            return [pid for pid in chosen if stack_processes.send(pid, signal.SIGKILL)]
        return []

    def _restart_postgres(self) -> list[int]:
        """What `pg_ctl stop -m immediate` does; the supervisor starts it again, as it must."""
        try:
            server = stack_processes.postmaster(self.stage.stack)
        except LabFailed:
            return []
        stack_processes.send(server.pid, signal.SIGQUIT)
        psutil.wait_procs([server], timeout=_BACK_WITHIN_S)
        deadline = time.monotonic() + _BACK_WITHIN_S
        while not self._answers():
            if time.monotonic() > deadline:
                raise LabFailed(f"Postgres is not back after {_BACK_WITHIN_S:.0f} s")
            time.sleep(_PAUSE_S)
        return [server.pid]

    def _answers(self) -> bool:
        try:
            return bool(self.stage.rows("labs.duplicate_tasks"))
        except psycopg.Error:
            return False

    def _kill_everything(self, planned: Planned) -> list[str]:
        """Every process at once, in half of the cases Postgres too; then the operator starts the stack again."""
        stack = self.stage.stack
        killed = [f"{stack_processes.kill_everything(stack)} processes"]
        if planned.ranks[0] % 2:
            with suppress(LabFailed):
                server = stack_processes.postmaster(stack)
                stack_processes.send(server.pid, signal.SIGQUIT)
                psutil.wait_procs([server], timeout=_BACK_WITHIN_S)
                killed.append("Postgres")
        stack.start()
        return killed

    def _held_by(self, pids: Sequence[int] | None) -> tuple[str, ...]:
        """Intents whose work these processes do; all workers when None."""
        texts = None if pids is None else [str(pid) for pid in pids]
        with suppress(psycopg.Error):
            return tuple(row["workflow_id"] for row in self.stage.rows("labs.held_by", pids=texts))
        return ()

    def _unasked(self) -> tuple[str, ...]:
        with suppress(psycopg.Error):
            return tuple(row["workflow_id"] for row in self.stage.rows("labs.unasked"))
        return ()

    def _wait_until(self, at_s: float) -> None:
        while (left := self._began + at_s - time.monotonic()) > 0:
            self._thaw()
            time.sleep(min(left, _PAUSE_S))

    def _thaw(self, *, everything: bool = False) -> None:
        while self._frozen and (everything or self._frozen[0][0] <= time.monotonic()):
            _, pid = heapq.heappop(self._frozen)
            stack_processes.send(pid, signal.SIGCONT)
