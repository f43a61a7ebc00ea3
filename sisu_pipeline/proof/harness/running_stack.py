"""A running stack as labs and measurements use it: submit, approve, wait, read rows, check the laws."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from resources.database import Database
from sisu_pipeline import oracle
from sisu_pipeline.database_server import locate
from sisu_pipeline.domain.status import TERMINAL
from sisu_pipeline.proof.harness.lab_stack import LabFailed, LabStack
from sql import query

Json = dict[str, Any]
ReportCount = Callable[[int], None]

_POLL_INTERVAL_S = 0.05
# An API that was killed is back within seconds.
_RETRY_TIMEOUT_S = 60.0


def ignore_count(_: int) -> None:
    """Report no progress."""


@dataclass
class RunningStack:
    """A stack's processes, its API and its database."""

    process: LabStack
    http: httpx.Client
    database: Database

    def get(self, path: str) -> tuple[int, Json]:
        """GET and return status and JSON, with the same repetitions as `post`."""
        return self._request("GET", path, None)

    def post(self, path: str, body: Json) -> tuple[int, Json]:
        """POST and return status and JSON; retry on 5xx and connection errors: requests are idempotent.

        Raises LabFailed after a minute.
        """
        return self._request("POST", path, body)

    def _request(self, method: str, path: str, body: Json | None) -> tuple[int, Json]:
        deadline = time.monotonic() + _RETRY_TIMEOUT_S
        while True:
            try:
                response = self.http.request(method, path, json=body)
                if response.status_code < 500:
                    return response.status_code, response.json()
                problem = f"{response.status_code} {response.text[:200]}"
            except httpx.TransportError as error:
                problem = repr(error)
            if time.monotonic() > deadline:
                raise LabFailed(f"{method} {path} failed for {_RETRY_TIMEOUT_S:.0f} s, last with {problem}")
            time.sleep(_POLL_INTERVAL_S)

    def submit(self, goal: str, inputs: Json | None = None, partition: str = "bench") -> str:
        """Submit an intent and start its run; returns the workflow id."""
        stored = self._post_ok("/intents", {"goal": goal, "inputs": inputs or {}, "constraints": {}})
        workflow_id = str(stored["intentId"])
        body = {"recipeName": "sandbox-default", "queuePartitionKey": partition}
        self._post_ok(f"/intents/{workflow_id}/run", body)
        return workflow_id

    def approve(self, workflow_id: str) -> None:
        """Approve a run's plan."""
        self._post_ok(f"/runs/{workflow_id}/approve-plan", {"approvedBy": "bench"})

    def wait_for_status(
        self, workflow_ids: Sequence[str], status: str, timeout: float, report_count: ReportCount = ignore_count
    ) -> None:
        """Wait until every run has a status; `timeout` in seconds. `report_count` receives how many have it.

        Raises LabFailed on timeout, or when a run has another terminal status.
        """
        others = TERMINAL - {status}

        def all_have_it() -> bool:
            counts = self.status_counts(workflow_ids)
            report_count(counts.get(status, 0))
            if others & counts.keys():
                raise LabFailed(f"expected {len(workflow_ids)} runs {status}, got {counts}")
            return counts.get(status, 0) == len(workflow_ids)

        self.wait_until(
            all_have_it,
            timeout,
            lambda: f"{len(workflow_ids)} runs {status}, got {self.status_counts(workflow_ids)}",
        )

    def wait_until(self, holds: Callable[[], bool], timeout: float, expected: Callable[[], str]) -> None:
        """Poll a condition; `timeout` in seconds, `expected` describes it in the error.

        Raises LabFailed on timeout, or when the stack has exited.
        """
        deadline = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > deadline:
                raise LabFailed(
                    f"timed out after {timeout:g} s waiting for {expected()}; logs: {self.process.settings.logs}"
                )
            if not self.process.is_running:
                raise LabFailed(f"the stack exited: {self.process.log.read_text()[-2000:]}")
            time.sleep(_POLL_INTERVAL_S)

    def status_counts(self, workflow_ids: Sequence[str]) -> dict[str, int]:
        """The number of runs by status."""
        rows = self.rows("bench.statuses", workflow_ids=list(workflow_ids))
        return {row["status"]: row["count"] for row in rows}

    def rows(self, statement: str, **parameters: Any) -> list[Json]:
        """The rows of a named statement of `sql/queries`."""
        with self.database.connect() as connection:
            return connection.execute(query(statement), parameters).fetchall()

    def row(self, statement: str, **parameters: Any) -> Json:
        """The only row of a named statement."""
        (row,) = self.rows(statement, **parameters)
        return row

    def broken_laws(self) -> dict[str, list[Json]]:
        """The rows that break a law of the oracle, by law."""
        with self.database.connect() as connection:
            return {verdict.law: list(verdict.rows) for verdict in oracle.judge(connection) if not verdict.holds}

    def _post_ok(self, path: str, body: Json) -> Json:
        status, response = self.post(path, body)
        if status >= 300:
            raise LabFailed(f"POST {path} returned {status}: {response}")
        return response


@contextmanager
def connect_to(process: LabStack) -> Iterator[RunningStack]:
    """Open an API client and the database of a started stack."""
    # The stack is local: proxy settings of the environment do not apply.
    with httpx.Client(base_url=process.url, timeout=30, trust_env=False) as http:
        yield RunningStack(process, http, locate(process.settings))
