"""Lab failover: kill the primary under load and promote its standby; nothing that was acknowledged may be lost.

The old primary then comes back as a server of its own that accepts writes: no process may write to it. Finally it
is rebuilt as the standby, so the next round fails over in the other direction.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psycopg

from sisu_pipeline.domain.status import TERMINAL
from sisu_pipeline.proof.harness import stack_processes
from sisu_pipeline.proof.harness.lab_rounds import Json, Lab, Round, expect
from sisu_pipeline.proof.harness.lab_stack import LabFailed
from sisu_pipeline.proof.harness.replicated_postgres import ReplicatedPostgres, replicated_postgres
from sisu_pipeline.proof.harness.running_stack import RunningStack

TASKS = 2
PARKED = 3
CLIENTS = 4
_TIMEOUT_S = 120.0
_INPUTS = {"tests": [f"0.3 t{number}" for number in range(TASKS)], "testCommand": "sleep"}
_PARTITION = "failover-partition"
_READ_INTERVAL_S = 0.05

Fact = tuple[str, str, datetime]


def lab() -> Lab:
    """The lab; its servers live as long as its stack."""
    pairs: list[ReplicatedPostgres] = []

    @contextmanager
    def services(home: Path) -> Iterator[Mapping[str, str]]:
        with replicated_postgres(home) as pair:
            pairs.append(pair)
            yield {"DATABASE_URL": pair.url}

    return Lab(
        "failover",
        lambda lab_round: _repetition(lab_round, pairs[-1]),
        variables={"INTENT_QUEUE_RATE_LIMIT_PER_PERIOD": "0", "SBX_QUEUE_RATE_LIMIT_PER_PERIOD": "0"},
        services=services,
    )


def _repetition(lab_round: Round, pair: ReplicatedPostgres) -> Json:
    stack, draw = lab_round.stack, lab_round.random
    lab_round.schedule = {
        "kill_after_s": round(draw.uniform(0.5, 3.0), 2),
        "promote_after_s": round(draw.uniform(0.0, 2.0), 2),
        "load_after_s": round(draw.uniform(0.5, 2.0), 2),
    }
    parked = _park(lab_round)
    before = _main_processes(stack)
    load = _Load(stack, lab_round.number)
    with load.running():
        time.sleep(lab_round.schedule["kill_after_s"])
        lab_round.record_fault("SIGKILL", "primary", pid=pair.kill_primary())
        killed = time.monotonic()
        time.sleep(lab_round.schedule["promote_after_s"])
        pair.promote()
        promoted = time.monotonic()
        lab_round.record_fault("promotion", "standby", after_s=round(promoted - killed, 3))
        stack.submit(f"after the promotion {lab_round.number}", partition=_PARTITION)
        accepted = time.monotonic()
        for workflow_id in parked:
            stack.approve(workflow_id)
        time.sleep(lab_round.schedule["load_after_s"])
    lost = load.seen - _facts(stack, load.since)
    expect(not lost, f"{len(lost)} acknowledged rows are lost, the first: {sorted(lost)[:1]}")
    ids = [*parked, *load.approved]
    lab_round.report_activity(f"{len(ids)} approved, waiting for their end")
    stack.wait_for_status(ids, "succeeded", _TIMEOUT_S)
    unexpected = stack.rows("restart.unexpected_runs", workflow_ids=ids, tasks=TASKS)
    expect(not unexpected, f"{len(unexpected)} runs have unexpected rows, the first: {unexpected[:1]}")
    try:
        stack.row("failover.next_output")
    except psycopg.Error as error:
        raise LabFailed(f"live output cannot be stored on the new writer: {error}") from error
    settled = time.monotonic()
    ignored = _refuse_replaced_writer(lab_round, pair)
    after = _main_processes(stack)
    expect(before == after, f"main processes were restarted: {before} before, {after} after")
    pair.rebuild_standby()
    return {
        "submitted": len(load.submitted),
        "decided": len(ids),
        "rows_read_before_the_kill": len(load.seen),
        "lost": 0,
        "accepted_after_promotion_s": round(accepted - promoted, 3),
        "all_succeeded_after_s": round(settled - promoted, 2),
        "sessions_ended": ignored,
    }


def _park(lab_round: Round) -> list[str]:
    """Submit the intents that are approved only after the failover; returns them once they wait for approval."""
    ids = [
        lab_round.stack.submit(f"parked {lab_round.number}/{number}", _INPUTS, _PARTITION)
        for number in range(PARKED)
    ]
    lab_round.stack.wait_for_status(ids, "waiting_input", _TIMEOUT_S)
    return ids


def _refuse_replaced_writer(lab_round: Round, pair: ReplicatedPostgres) -> int:
    """Restart the old primary as a separate writer and end every session, so that each process connects again.

    Returns the number of sessions that were ended. Raises LabFailed when anything was written to the old primary.
    """
    stack = lab_round.stack
    pair.restart_replaced()
    lab_round.record_fault("restart as a separate writer", "old primary")
    unwritten = pair.next_transaction_of_replaced()
    pids = [row["pid"] for row in stack.rows("labs.backends")]
    stack.rows("labs.terminate", pids=pids)
    lab_round.record_fault("pg_terminate_backend", "every session", sessions=len(pids))
    workflow_id = stack.submit(f"two writers {lab_round.number}", _INPUTS, _PARTITION)
    stack.approve(workflow_id)
    stack.wait_for_status([workflow_id], "succeeded", _TIMEOUT_S)
    expect(
        pair.next_transaction_of_replaced() == unwritten,
        f"something was written to the old primary: transaction {unwritten} is not its next one any more",
    )
    return len(pids)


def _main_processes(stack: RunningStack) -> dict[str, int]:
    """The main process of each component; workers are replaced by their group when they lose a session."""
    groups = stack_processes.by_component(stack.process)
    return {name: group[0].pid for name, group in groups.items() if group}


def _facts(stack: RunningStack, since: datetime) -> set[Fact]:
    return {(row["kind"], row["id"], row["at"]) for row in stack.rows("failover.facts", since=since)}


@dataclass
class _Load:
    """Clients that submit, approve and wait; a reader of what is committed until the primary dies."""

    stack: RunningStack
    number: int
    since: datetime = field(init=False)
    submitted: list[str] = field(default_factory=list)
    approved: list[str] = field(default_factory=list)
    seen: set[Fact] = field(default_factory=set)
    _ending: threading.Event = field(default_factory=threading.Event)
    _failures: list[Exception] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the clients inside the block. Raises LabFailed when one failed."""
        self.since = self.stack.row("failover.clock")["now"]
        threads = [threading.Thread(target=self._submit, args=[client], daemon=True) for client in range(CLIENTS)]
        threads.append(threading.Thread(target=self._read, daemon=True))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ending.set()
            for thread in threads:
                thread.join(_TIMEOUT_S)
        if self._failures:
            raise LabFailed(f"a client failed: {self._failures[0]}") from self._failures[0]

    def _submit(self, client: int) -> None:
        count = 0
        try:
            while not self._ending.is_set():
                count += 1
                workflow_id = self.stack.submit(f"load {self.number}/{client}/{count}", _INPUTS, _PARTITION)
                self.submitted.append(workflow_id)
                self.stack.approve(workflow_id)
                self.approved.append(workflow_id)
                self._wait_for_end(workflow_id)
        except Exception as failure:
            self._failures.append(failure)

    def _wait_for_end(self, workflow_id: str) -> None:
        """Wait for the run's end, or the end of the load: each client has one open intent."""
        while not self._ending.wait(_READ_INTERVAL_S):
            status, run = self.stack.get(f"/runs/{workflow_id}")
            if status == 200 and run["status"] in TERMINAL:
                return

    def _read(self) -> None:
        """Read until the connection is lost: what is visible has reached the standby."""
        try:
            while not self._ending.wait(_READ_INTERVAL_S):
                self.seen |= _facts(self.stack, self.since)
        except psycopg.OperationalError:
            return
        except Exception as failure:
            self._failures.append(failure)
