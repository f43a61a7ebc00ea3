"""Inject the faults of a schedule into a running stack: kill, freeze, disconnect, restart, starve, misdate."""

import heapq
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psutil
import psycopg

from sisu_pipeline.proof.chaos.fault_schedule import (
    CLOCK_STEPS,
    LIVE_FAULTS,
    OUTAGES,
    FaultKind,
    PlannedFault,
)
from sisu_pipeline.proof.chaos.fault_tools import FaultTools
from sisu_pipeline.proof.chaos.live_planning import LivePlanning
from sisu_pipeline.proof.chaos.outages import Outages
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_stack import LabFailed
from sisu_pipeline.proof.harness.running_stack import RunningStack

_RESTART_TIMEOUT_S = 40.0
_POLL_INTERVAL_S = 0.1
_MIN_INTERVAL_S = 1.0
_CLOCK_STEP_S = 3 * 3600

_KILLED = {
    FaultKind.KILL_API: "api",
    FaultKind.KILL_DAEMON: "daemon",
    FaultKind.KILL_CODE_SERVER: "code_server",
    FaultKind.KILL_WEBSERVER: "webserver",
}
_KILLED_GROUPS = {
    FaultKind.KILL_INTENT_GROUP: "intent_worker",
    FaultKind.KILL_SANDBOX_GROUP: "sandbox_worker",
    FaultKind.KILL_PLANNER_GROUP: "planner_worker",
}
_KILLED_WORKERS = {
    FaultKind.KILL_INTENT_WORKER: "intent_worker",
    FaultKind.KILL_SANDBOX_WORKER: "sandbox_worker",
    FaultKind.KILL_PLANNER_WORKER: "planner_worker",
}
FROZEN_WORKERS = {
    FaultKind.FREEZE_INTENT_WORKER: "intent_worker",
    FaultKind.FREEZE_SANDBOX_WORKER: "sandbox_worker",
    FaultKind.FREEZE_PLANNER_WORKER: "planner_worker",
}
_OF_AGENTS = (FaultKind.KILL_AGENT, FaultKind.KILL_RELAY, FaultKind.KILL_SPAWNER)
_FROZEN = {FaultKind.FREEZE_API: "api", FaultKind.FREEZE_DAEMON: "daemon"}
_HITS_ALL = OUTAGES | {
    FaultKind.KILL_EVERYTHING,
    FaultKind.RESTART_POSTGRES,
    FaultKind.TERMINATE_BACKENDS,
    FaultKind.KILL_BACKEND,
}
_STOPS_THE_DAEMON = (FaultKind.KILL_DAEMON, FaultKind.KILL_CODE_SERVER, FaultKind.FREEZE_DAEMON)


@dataclass(frozen=True)
class InjectedFault:
    """A fault that was injected, or found no victim; `affected` are the intents whose work it interrupted."""

    planned: PlannedFault
    at_s: float
    when: datetime
    victims: tuple[str, ...]
    affected: tuple[str, ...]

    @property
    def hit(self) -> bool:
        """Whether there was a victim."""
        return bool(self.victims)


@dataclass
class FaultInjector:
    """Injects faults into a stack and resumes the processes it froze."""

    stack: RunningStack
    report: Callable[[str], None]
    planning: LivePlanning | None = None
    tools: FaultTools = field(default_factory=FaultTools)
    injected: list[InjectedFault] = field(default_factory=list)
    _frozen: list[tuple[float, int]] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def run(self, schedule: Sequence[PlannedFault], seconds: float) -> None:
        """Inject every fault at its time or as soon as possible; returns after `seconds`, when none lasts any more.

        Faults that this machine does not allow are left out. Raises LabFailed when the stack does not recover from
        a restart.
        """
        self._began = time.monotonic()
        try:
            for planned in schedule:
                # Faults delayed by a restart of the whole stack keep a minimum interval.
                latest = self.injected[-1].at_s if self.injected else 0.0
                self._wait_until(max(planned.at_s, latest + _MIN_INTERVAL_S))
                if planned.kind not in self.tools.left_out:
                    self.inject(planned)
            self._wait_until(seconds)
            self._wait_until(max([seconds, *(at - self._began for at, _ in self._frozen)]))
        finally:
            self._end_due(everything=True)

    def inject(self, planned: PlannedFault) -> None:
        """Inject one fault and record its victims."""
        affected, strike = self._prepare(planned)
        when, at = datetime.now(UTC), time.monotonic() - self._began
        victims = strike()
        self.injected.append(InjectedFault(planned, round(at, 3), when, tuple(map(str, victims)), affected))
        self.report(f"{planned.kind}{'' if victims else ' (no victim)'}")

    def _prepare(self, planned: PlannedFault) -> tuple[tuple[str, ...], Callable[[], Sequence[object]]]:
        """The intents the victims work on, and the function that injects the fault and returns the victims."""
        kind = planned.kind
        if kind in _HITS_ALL:
            return self._held_by(None), lambda: self._hit_all(planned)
        if kind in CLOCK_STEPS:
            return (), lambda: self._step_clocks(planned)
        if kind in LIVE_FAULTS - set(FROZEN_WORKERS) - set(_KILLED_WORKERS) - set(_KILLED_GROUPS):
            pids = self._pids_of_agents(planned)
            affected = self._held_by(None, "compileQ") if kind in _OF_AGENTS else ()
            return affected, lambda: self._signal(pids, signal.SIGKILL, 0.0)
        pids = self._pids(planned)
        if kind in (*_KILLED_WORKERS, *_KILLED_GROUPS, *FROZEN_WORKERS):
            affected = self._held_by(pids)
        else:
            affected = self._not_requested() if kind in _STOPS_THE_DAEMON else ()
        number = signal.SIGSTOP if planned.seconds else signal.SIGKILL
        return affected, lambda: self._signal(pids, number, planned.seconds)

    def _hit_all(self, planned: PlannedFault) -> Sequence[object]:
        """Inject a fault of the database, the disk, or the whole stack."""
        match planned.kind:
            case FaultKind.KILL_EVERYTHING:
                return self._kill_everything(planned)
            case FaultKind.RESTART_POSTGRES:
                return self._restart_postgres()
            case FaultKind.TERMINATE_BACKENDS | FaultKind.KILL_BACKEND:
                return self._disconnect(planned)
        return Outages(self.stack, self.tools.disk, self._wait).cause(planned)

    def _pids(self, planned: PlannedFault) -> list[int]:
        kind = planned.kind
        if kind in _KILLED_GROUPS:
            return [process.pid for process in self._group(_KILLED_GROUPS[kind])]
        workers = _KILLED_WORKERS.get(kind) or FROZEN_WORKERS.get(kind)
        candidates = self._workers(workers) if workers else self._group(_KILLED.get(kind) or _FROZEN[kind])[:1]
        frozen = {pid for _, pid in self._frozen}
        pids = sorted(process.pid for process in candidates if not planned.seconds or process.pid not in frozen)
        return _chosen(planned, pids)

    def _pids_of_agents(self, planned: PlannedFault) -> list[int]:
        assert self.planning is not None, "only a stack with an agent has these faults"
        stack = self.stack.process
        with suppress(psutil.Error):
            match planned.kind:
                case FaultKind.KILL_MODEL:
                    return [self.planning.model.process.pid]
                case FaultKind.KILL_AGENT:
                    candidates = stack_processes.agents(stack, self.planning.agent)
                case FaultKind.KILL_RELAY:
                    candidates = stack_processes.relays(stack)
                case _:
                    candidates = stack_processes.spawners(stack)
            return _chosen(planned, sorted(process.pid for process in candidates))
        return []

    def _group(self, component: str) -> list[psutil.Process]:
        return self._groups().get(component, [])

    def _groups(self) -> dict[str, list[psutil.Process]]:
        with suppress(psutil.Error):
            return stack_processes.by_component(self.stack.process)
        return {}

    def _workers(self, component: str) -> list[psutil.Process]:
        with suppress(psutil.Error):
            return stack_processes.workers(self.stack.process, component)
        return []

    def _signal(self, pids: Sequence[int], number: signal.Signals, seconds: float) -> list[int]:
        hit = [pid for pid in pids if stack_processes.send_signal(pid, number)]
        if number is signal.SIGSTOP:
            for pid in hit:
                heapq.heappush(self._frozen, (time.monotonic() + seconds, pid))
        return hit

    def _disconnect(self, planned: PlannedFault) -> list[int]:
        """End the chosen connections with pg_terminate_backend, or by killing the backend process."""
        with suppress(psycopg.Error):
            backends = [int(row["pid"]) for row in self.stack.rows("labs.backends")]
            chosen = sorted({backends[rank % len(backends)] for rank in planned.ranks}) if backends else []
            if planned.kind is FaultKind.TERMINATE_BACKENDS:
                self.stack.rows("labs.terminate", pids=chosen)
                return chosen
            # Postgres treats this as a crash: it ends every session and recovers.
            return [pid for pid in chosen if stack_processes.kill(pid)]
        return []

    def _restart_postgres(self) -> list[int]:
        """Stop Postgres immediately and wait until the supervisor has restarted it."""
        try:
            server = stack_processes.stop_postgres_immediately(self.stack.process)
        except LabFailed:
            return []
        psutil.wait_procs([server], timeout=_RESTART_TIMEOUT_S)
        deadline = time.monotonic() + _RESTART_TIMEOUT_S
        while not self._database_answers():
            if time.monotonic() > deadline:
                raise LabFailed(f"Postgres did not restart within {_RESTART_TIMEOUT_S:.0f} s")
            time.sleep(_POLL_INTERVAL_S)
        return [server.pid]

    def _database_answers(self) -> bool:
        try:
            return bool(self.stack.rows("labs.duplicate_tasks"))
        except psycopg.Error:
            return False

    def _step_clocks(self, planned: PlannedFault) -> list[str]:
        """Put the clock of one process, or those of all, three hours ahead or back."""
        assert self.tools.clocks is not None, "left out without libfaketime"
        with suppress(psutil.Error):
            pids = self._clock_pids(planned)
            offset_s = _CLOCK_STEP_S if planned.ranks[0] % 2 else -_CLOCK_STEP_S
            self.tools.clocks.step(pids, offset_s, planned.seconds)
            return [f"{stack_processes.component_of(pid)} {pid} {offset_s:+d} s" for pid in pids]
        return []

    def _clock_pids(self, planned: PlannedFault) -> list[int]:
        """All processes, or one of a component that the rank names: otherwise most would be workers."""
        groups = [[each.pid for each in group] for group in self._groups().values() if group]
        if planned.kind is FaultKind.STEP_CLOCKS:
            return [self.stack.process.pid, *(pid for group in groups for pid in group)]
        component, rank = planned.ranks[0] // 2, planned.ranks[0] // (2 * max(1, len(groups)))
        chosen = groups[component % len(groups)] if groups else []
        return [chosen[rank % len(chosen)]] if chosen else []

    def _kill_everything(self, planned: PlannedFault) -> list[str]:
        """Kill every process, in half of the cases Postgres too, and start the stack again."""
        stack = self.stack.process
        killed = [f"{stack_processes.kill_everything(stack)} processes"]
        if planned.ranks[0] % 2:
            with suppress(LabFailed):
                server = stack_processes.stop_postgres_immediately(stack)
                psutil.wait_procs([server], timeout=_RESTART_TIMEOUT_S)
                killed.append("Postgres")
        stack.start()
        return killed

    def _held_by(self, pids: Sequence[int] | None, queue: str | None = None) -> tuple[str, ...]:
        """The intents whose work these worker processes hold; None means all workers, or all queues."""
        texts = None if pids is None else [str(pid) for pid in pids]
        with suppress(psycopg.Error):
            rows = self.stack.rows("labs.held_by", pids=texts, queue=queue)
            return tuple(row["workflow_id"] for row in rows)
        return ()

    def _not_requested(self) -> tuple[str, ...]:
        """The intents whose next segment only the daemon can request."""
        with suppress(psycopg.Error):
            return tuple(row["workflow_id"] for row in self.stack.rows("labs.not_requested"))
        return ()

    def _wait(self, seconds: float) -> None:
        self._wait_until(time.monotonic() - self._began + seconds)

    def _wait_until(self, at_s: float) -> None:
        while (left := self._began + at_s - time.monotonic()) > 0:
            self._end_due()
            time.sleep(min(left, _POLL_INTERVAL_S))

    def _end_due(self, *, everything: bool = False) -> None:
        """Resume the processes and correct the clocks whose time is up, or all of them."""
        if self.tools.clocks is not None:
            self.tools.clocks.correct(everything=everything)
        while self._frozen and (everything or self._frozen[0][0] <= time.monotonic()):
            _, pid = heapq.heappop(self._frozen)
            stack_processes.send_signal(pid, signal.SIGCONT)


def _chosen(planned: PlannedFault, pids: Sequence[int]) -> list[int]:
    """The victim among the candidates, by its rank."""
    return [pids[planned.ranks[0] % len(pids)]] if pids else []
