"""A running stack and what labs and measurements ask of it: submit, approve, wait, read rows, judge."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from resources.database import Database
from sisu_pipeline import oracle
from sisu_pipeline.database_server import locate
from sisu_pipeline.proof.harness.lab_stack import LabFailed, LabStack
from sql import query

Json = dict[str, Any]
Tick = Callable[[int], None]

ENDS = frozenset({"succeeded", "failed", "canceled", "retries_exceeded"})
_PAUSE_S = 0.05
# An API that was killed is back within seconds: a request is sent again until then.
_PATIENCE_S = 60.0


def ignore(_: int) -> None:
    """A tick nobody watches."""


@dataclass
class Stage:
    """A running stack, its API and its rows."""

    stack: LabStack
    http: httpx.Client
    database: Database

    def post(self, path: str, body: Json) -> tuple[int, Json]:
        """Send a request until somebody answers it; a repeat is a replay. Raises LabFailed after a minute."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                answer = self.http.post(path, json=body)
                if answer.status_code < 500:
                    return answer.status_code, answer.json()
                problem = f"{answer.status_code} {answer.text[:200]}"
            except httpx.TransportError as error:
                problem = repr(error)
            if time.monotonic() > deadline:
                raise LabFailed(f"POST {path}: {problem}")
            time.sleep(_PAUSE_S)

    def submit(self, goal: str, inputs: Json | None = None, partition: str = "bench") -> str:
        """Submit an intent and start its run; returns the workflow id."""
        kept = self._ok("/intents", {"goal": goal, "inputs": inputs or {}, "constraints": {}})
        workflow_id = str(kept["intentId"])
        body = {"recipeName": "sandbox-default", "queuePartitionKey": partition}
        self._ok(f"/intents/{workflow_id}/run", body)
        return workflow_id

    def approve(self, workflow_id: str) -> None:
        """Approve a run's plan."""
        self._ok(f"/runs/{workflow_id}/approve-plan", {"approvedBy": "bench"})

    def wait_for(self, workflow_ids: Sequence[str], status: str, timeout: float, tick: Tick = ignore) -> None:
        """Wait until every run has this status; `tick` gets how many do. Raises LabFailed."""
        others = ENDS - {status}

        def arrived() -> bool:
            counts = self.statuses(workflow_ids)
            tick(counts.get(status, 0))
            if others & counts.keys():
                raise LabFailed(f"expected {len(workflow_ids)} runs {status}, have {counts}")
            return counts.get(status, 0) == len(workflow_ids)

        self.until(arrived, timeout, lambda: f"{status}; have {self.statuses(workflow_ids)}")

    def until(self, holds: Callable[[], bool], timeout: float, what: Callable[[], str]) -> None:
        """Wait for a condition. Raises LabFailed, saying what was waited for, or when the stack has ended."""
        deadline = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > deadline:
                raise LabFailed(f"not within {timeout:g} s: {what()}; logs: {self.stack.settings.logs}")
            if not self.stack.is_running:
                raise LabFailed(f"the stack has ended: {self.stack.log.read_text()[-2000:]}")
            time.sleep(_PAUSE_S)

    def statuses(self, workflow_ids: Sequence[str]) -> dict[str, int]:
        """How many of the runs are in each state."""
        rows = self.rows("bench.statuses", workflow_ids=list(workflow_ids))
        return {row["status"]: row["count"] for row in rows}

    def rows(self, statement: str, **parameters: Any) -> list[Json]:
        """The rows of a named statement."""
        with self.database.connect() as connection:
            return connection.execute(query(statement), parameters).fetchall()

    def row(self, statement: str, **parameters: Any) -> Json:
        """The one row of a named statement."""
        (row,) = self.rows(statement, **parameters)
        return row

    def broken_laws(self) -> dict[str, list[Json]]:
        """The rows of every law of the oracle that is broken."""
        with self.database.connect() as connection:
            return {verdict.law: list(verdict.rows) for verdict in oracle.judge(connection) if not verdict.holds}

    def _ok(self, path: str, body: Json) -> Json:
        status, answer = self.post(path, body)
        if status >= 300:
            raise LabFailed(f"POST {path}: {status} {answer}")
        return answer


@contextmanager
def on(stack: LabStack) -> Iterator[Stage]:
    """The stage of a running stack."""
    # Proxies are for other machines.
    with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as http:
        yield Stage(stack, http, locate(stack.settings))
