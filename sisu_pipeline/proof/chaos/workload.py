"""Run scenarios: perform every operation at its time, over HTTP, with retries.

An operation that needs a state of its run (an open gate, a failure to retry) is attempted again until the run is in
that state.
"""

import heapq
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.proof.chaos.scenarios import CHANGES, EDITED_FILE, EDITED_TEST, Operation, Scenario, ScenarioKind
from sisu_pipeline.proof.harness.lab_stack import LabFailed
from sisu_pipeline.proof.harness.running_stack import Json

_CLIENTS = 16
_ACCEPTED_BELOW = 300
_CONFLICT = 409
_OK = 200
_AGAIN_AFTER_S = 0.5
_MOST_REQUESTS_PER_S = 30
"""Requests that only wait for a state, in one second: many more would occupy the machine instead of the stack."""
_ACTOR = "chaos"
_REQUEST_CHANGES = "request-changes"


class Client(Protocol):
    """The API as clients use it; each request is repeated until it has a response."""

    def get(self, path: str) -> tuple[int, Json]:
        """GET a path; returns status and JSON."""
        ...

    def post(self, path: str, body: Json) -> tuple[int, Json]:
        """POST to a path; returns status and JSON."""
        ...


Request = tuple[str, Json]
"""The path below the run, and the body."""


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

    def __init__(self, client: Client, scenarios: Sequence[Scenario]) -> None:
        self.outcomes = [ScenarioOutcome(scenario) for scenario in scenarios]
        self._client = client
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

        Raises LabFailed when none was completed for `seconds`.
        """
        left, deadline = self._left, time.monotonic() + seconds
        with self._changed:
            self._hurry = True
            self._due = sorted((0.0, number, index) for _, number, index in self._due)
            self._changed.notify_all()
            while self._left:
                if self._left < left:
                    left, deadline = self._left, time.monotonic() + seconds
                if time.monotonic() > deadline:
                    total = len(self.outcomes)
                    raise LabFailed(f"{self._left} of {total} scenarios left, and none completed in {seconds:g} s")
                self._changed.wait(0.2)
                report_count(self.completed)

    def _run_client(self) -> None:
        while (item := self._next()) is not None:
            number, index = item
            outcome = self.outcomes[number]
            is_done = True
            try:
                is_done = perform(self._client, outcome, outcome.scenario.operations[index].operation)
            except LabFailed as failure:
                outcome.wrong_responses.append(str(failure))
            if is_done:
                self._schedule_next(number, index + 1)
            else:
                self._schedule_again(number, index)

    def _next(self) -> tuple[int, int] | None:
        """Wait for the next due operation, as (scenario, index); None when the workload is stopped."""
        with self._changed:
            while not self._stop:
                wait = self._due[0][0] - self._elapsed_s() if self._due else 1.0
                if self._due and wait <= 0:
                    _, number, index = heapq.heappop(self._due)
                    return number, index
                self._changed.wait(wait)
        return None

    def _schedule_next(self, number: int, index: int) -> None:
        operations = self.outcomes[number].scenario.operations
        with self._changed:
            if index < len(operations):
                at_s = 0.0 if self._hurry else operations[index].at_s
                heapq.heappush(self._due, (at_s, number, index))
            else:
                self._left -= 1
            self._changed.notify()

    def _schedule_again(self, number: int, index: int) -> None:
        with self._changed:
            pause = max(_AGAIN_AFTER_S, len(self._due) / _MOST_REQUESTS_PER_S)
            heapq.heappush(self._due, (self._elapsed_s() + pause, number, index))
            self._changed.notify()

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began


def perform(client: Client, outcome: ScenarioOutcome, operation: Operation) -> bool:
    """Perform an operation and record the response; False when its run is not in the required state yet.

    A run that has ended will not be in that state. Raises what the client raises.
    """
    if operation is Operation.SUBMIT:
        _submit(client, outcome)
        return True
    request = _REQUESTS[operation](client, outcome)
    if request is None:
        return _is_planned(client, outcome) if operation is Operation.RETRY else _has_ended(client, outcome)
    path, body = request
    status, response = client.post(f"/runs/{outcome.workflow_id}/{path}", body)
    outcome.responses.append((operation, status))
    if status not in (202, _CONFLICT):
        outcome.wrong_responses.append(f"{operation}: {status} {response}")
        return True
    if path == _REQUEST_CHANGES:
        return False
    return status != _CONFLICT or operation not in _WAITING


def _submit(client: Client, outcome: ScenarioOutcome) -> None:
    scenario = outcome.scenario
    status, stored = client.post("/intents", scenario.intent)
    if status >= _ACCEPTED_BELOW:
        outcome.wrong_responses.append(f"submit: {status} {stored}")
        return
    workflow_id = str(stored["intentId"])
    body = {"recipeName": "sandbox-default", "queuePartitionKey": scenario.partition}
    status, started = client.post(f"/intents/{workflow_id}/run", body)
    outcome.responses.append((Operation.SUBMIT, status))
    # A canceled run does not start again.
    expected = _CONFLICT if outcome.was_accepted(Operation.CANCEL) else 202
    if status != expected or outcome.workflow_id not in ("", workflow_id):
        outcome.wrong_responses.append(f"submit: {status} {started}; the first id was {outcome.workflow_id}")
    outcome.workflow_id = workflow_id


def _read(client: Client, outcome: ScenarioOutcome, path: str = "") -> Json | None:
    """A view of the run; None while it does not exist."""
    status, view = client.get(f"/runs/{outcome.workflow_id}{path}")
    return view if status == _OK else None


def _answer(client: Client, outcome: ScenarioOutcome) -> Request | None:
    """The answer to the run's question, once its gate has opened."""
    gates = (_read(client, outcome, "/gates") or {}).get("gates", [])
    key = next((gate["gateKey"] for gate in gates if "form" in gate), None)
    body = {"answeredBy": _ACTOR, "answer": {"environment": "staging"}, "dedupeKey": "answer"}
    return None if key is None else (f"gates/{key}/answer", body)


def _edit(client: Client, outcome: ScenarioOutcome) -> Request | None:
    """The approval of an edited plan, once the run waits for one."""
    run = _read(client, outcome)
    if run is None or run.get("nextAction") != "APPROVE_PLAN":
        return None
    view = _read(client, outcome, "/plan")
    if view is None:
        return None
    plan = {name: value for name, value in view["plan"].items() if value is not None} | {"tests": [EDITED_TEST]}
    for patch in plan.get("patchPlan", []):
        if patch["targetPath"] == EDITED_FILE:
            patch["postimageContent"] = outcome.scenario.edited_text
    body = {"approvedBy": _ACTOR, "planSha256": view["planSha256"], "plan": plan, "dedupeKey": "edit"}
    return "approve-plan", body


def _revise(client: Client, outcome: ScenarioOutcome) -> Request | None:
    """The request for changes, and once the agent has answered it, the approval of the new plan.

    Changes are requested again if faults interrupted every session of the agent about them.
    """
    run = _read(client, outcome)
    if run is None or run.get("nextAction") != "APPROVE_PLAN":
        return None
    view = _read(client, outcome, "/plan")
    if view is None:
        return None
    if view["version"] == 1:
        return _REQUEST_CHANGES, {"requestedBy": _ACTOR, "comment": CHANGES}
    return "approve-plan", {"approvedBy": _ACTOR, "planSha256": view["planSha256"]}


def _retry(client: Client, outcome: ScenarioOutcome) -> Request | None:
    """The retry of the run, once it has failed."""
    run = _read(client, outcome)
    is_failed = run is not None and run["status"] == "retries_exceeded"
    return ("retry", {"actor": _ACTOR, "reason": "again"}) if is_failed else None


def _is_planned(client: Client, outcome: ScenarioOutcome) -> bool:
    """Whether the agent that was to submit no plan has submitted one: its first session was interrupted."""
    run = _read(client, outcome) if outcome.scenario.kind is ScenarioKind.REPLANNED else None
    return run is not None and run.get("nextAction") == "APPROVE_PLAN"


def _has_ended(client: Client, outcome: ScenarioOutcome) -> bool:
    """Whether the run has ended without waiting for people: its planning was interrupted too often."""
    run = _read(client, outcome)
    return run is not None and RunStatus(run["status"]).is_terminal


def _fixed(path: str, body: Json) -> Callable[[Client, ScenarioOutcome], Request]:
    return lambda _client, _outcome: (path, body)


_REQUESTS: dict[Operation, Callable[[Client, ScenarioOutcome], Request | None]] = {
    Operation.APPROVE: _fixed("approve-plan", {"approvedBy": _ACTOR}),
    Operation.REJECT: _fixed("reject-plan", {"rejectedBy": _ACTOR, "reason": "not this one"}),
    Operation.CANCEL: _fixed("cancel", {"actor": _ACTOR, "reason": "no longer wanted"}),
    Operation.ANSWER: _answer,
    Operation.EDIT: _edit,
    Operation.RETRY: _retry,
    Operation.REVISE: _revise,
}
_WAITING = (Operation.ANSWER, Operation.EDIT, Operation.REVISE)


def _raise_first(clients: Sequence["Future[Any]"]) -> None:
    for client in clients:
        client.result()
