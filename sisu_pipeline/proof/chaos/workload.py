"""Run scenarios: perform every operation at its time, over HTTP, with retries."""

import heapq
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sisu_pipeline.proof.chaos.scenarios import Operation, Scenario
from sisu_pipeline.proof.harness.lab_stack import LabFailed
from sisu_pipeline.proof.harness.running_stack import Json

_CLIENTS = 16
_ACCEPTED_BELOW = 300
_CONFLICT = 409

Post = Callable[[str, Json], tuple[int, Json]]


@dataclass
class ScenarioOutcome:
    """The responses to a scenario's operations so far, and those that violate the API's contract."""

    scenario: Scenario
    workflow_id: str = ""
    responses: list[tuple[Operation, int]] = field(default_factory=list)
    wrong_responses: list[str] = field(default_factory=list)

    def was_accepted(self, *operations: Operation) -> bool:
        """Whether one of these operations was accepted."""
        return any(each in operations and status < _ACCEPTED_BELOW for each, status in self.responses)


class Workload:
    """Performs the operations of scenarios with a pool of clients; those of one scenario run one after another."""

    def __init__(self, post: Post, scenarios: Sequence[Scenario]) -> None:
        self.outcomes = [ScenarioOutcome(scenario) for scenario in scenarios]
        self._post = post
        self._due = [(scenario.operations[0].at_s, scenario.number, 0) for scenario in scenarios]
        heapq.heapify(self._due)
        self._began = time.monotonic()
        self._left = len(scenarios)
        self._hurry = False
        self._stop = False
        self._changed = threading.Condition()

    @contextmanager
    def running(self) -> Iterator["Workload"]:
        """Perform operations at their time inside the block; leaving it stops the workload."""
        self._began = time.monotonic()
        with ThreadPoolExecutor(_CLIENTS, thread_name_prefix="client") as pool:
            clients = [pool.submit(self._run_client) for _ in range(_CLIENTS)]
            try:
                yield self
            finally:
                with self._changed:
                    self._stop = True
                    self._changed.notify_all()
        _raise_first(clients)

    @property
    def completed(self) -> int:
        """The number of scenarios whose operations have all been performed."""
        return len(self.outcomes) - self._left

    def finish(self, seconds: float, report_count: Callable[[int], None]) -> None:
        """Perform the remaining operations at once; `report_count` receives the number of completed scenarios.

        Raises LabFailed after `seconds`.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            while self._left:
                if time.monotonic() > deadline:
                    total = len(self.outcomes)
                    raise LabFailed(f"{self._left} of {total} scenarios not completed after {seconds:g} s")
                self._changed.wait(0.2)
                report_count(self.completed)

    def _run_client(self) -> None:
        while (item := self._next()) is not None:
            number, index = item
            outcome = self.outcomes[number]
            try:
                perform(self._post, outcome, outcome.scenario.operations[index].operation)
            except LabFailed as failure:
                outcome.wrong_responses.append(str(failure))
            self._schedule_next(number, index + 1)

    def _next(self) -> tuple[int, int] | None:
        """Wait for the next due operation, as (scenario, index); None when the workload is stopped."""
        with self._changed:
            while not self._stop:
                wait = self._due[0][0] - (time.monotonic() - self._began) if self._due else 1.0
                if self._due and (wait <= 0 or self._hurry):
                    _, number, index = heapq.heappop(self._due)
                    return number, index
                self._changed.wait(wait)
        return None

    def _schedule_next(self, number: int, index: int) -> None:
        operations = self.outcomes[number].scenario.operations
        with self._changed:
            if index < len(operations):
                heapq.heappush(self._due, (operations[index].at_s, number, index))
            else:
                self._left -= 1
            self._changed.notify()


def perform(post: Post, outcome: ScenarioOutcome, operation: Operation) -> None:
    """Perform an operation and record the response. Raises what `post` raises."""
    if operation is Operation.SUBMIT:
        _submit(post, outcome)
        return
    path, body = _REQUESTS[operation]
    status, response = post(f"/runs/{outcome.workflow_id}/{path}", body)
    outcome.responses.append((operation, status))
    if status not in (202, _CONFLICT):
        outcome.wrong_responses.append(f"{operation}: {status} {response}")


def _submit(post: Post, outcome: ScenarioOutcome) -> None:
    scenario = outcome.scenario
    status, stored = post("/intents", {"goal": scenario.goal, "inputs": scenario.inputs, "constraints": {}})
    if status >= _ACCEPTED_BELOW:
        outcome.wrong_responses.append(f"submit: {status} {stored}")
        return
    workflow_id = str(stored["intentId"])
    body = {"recipeName": "sandbox-default", "queuePartitionKey": scenario.partition}
    status, started = post(f"/intents/{workflow_id}/run", body)
    outcome.responses.append((Operation.SUBMIT, status))
    if status != 202 or outcome.workflow_id not in ("", workflow_id):
        outcome.wrong_responses.append(f"submit: {status} {started}; the first id was {outcome.workflow_id}")
    outcome.workflow_id = workflow_id


_REQUESTS: dict[Operation, tuple[str, Json]] = {
    Operation.APPROVE: ("approve-plan", {"approvedBy": "chaos"}),
    Operation.REJECT: ("reject-plan", {"rejectedBy": "chaos", "reason": "not this one"}),
    Operation.CANCEL: ("cancel", {"actor": "chaos", "reason": "no longer wanted"}),
}


def _raise_first(clients: Sequence["Future[Any]"]) -> None:
    for client in clients:
        client.result()
