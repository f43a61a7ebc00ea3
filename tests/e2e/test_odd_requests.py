"""Every odd but valid request that a stack accepts comes to its end, costs no worker its life and logs no error."""

import os
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.database import Connection
from sisu_pipeline import oracle
from sisu_pipeline.contracts.intent import Intent, RunRequest
from sisu_pipeline.database_server import locate
from sisu_pipeline.domain.identity import artifact_uri
from sisu_pipeline.proof.harness.lab_stack import LabStack, lab_stack
from sisu_pipeline.steps.step_result import ASK_GATE, plan_gate_key
from sisu_pipeline.store import human_gates
from sisu_pipeline.store.human_gates import ListedGate
from tests.docs_generators.api_page import api
from tests.e2e import odd_requests
from tests.e2e.odd_requests import CHANGES, DEPLOYMENT, EDITED, PLAN_SHA256, READS, RUN, Request

COUNT = int(os.environ.get("ODD_REQUESTS", "500"))
# Two segments and at most four tasks each, on two workers of a busy machine.
SECONDS = 180 + 3 * COUNT
CLIENTS = 8
_PLAIN_START = {"recipeName": "sandbox-default", "queuePartitionKey": "odd"}
_ENDED = ["succeeded", "failed", "canceled", "retries_exceeded"]
# Who decides at a gate, in this order: a policy may require two people.
_DECIDERS = ("po", "qa", "po", "qa")
_LAST_STATUSES = "SELECT id, status FROM app.runs WHERE id = ANY(%(runs)s) AND status = ANY(%(ended)s)"

# The endless streams, and what only a browser with a token requests (`tests/integration/access`).
_NOT_GENERATED = {"GET /events", "GET /inbox/events", "POST /session/close", "POST /session/cookie"}
_STARTS = {"POST /intents": odd_requests.intents, "POST /intents/{intent_id}/run": odd_requests.starts}
# Dagster reports a step that failed as it should at this level, with the sentence of the failure.
_ERROR = re.compile(r"Traceback \(most recent call last\)|(?<! - dagster) - ERROR - |^ERROR", re.MULTILINE)


@dataclass
class OddRun:
    """A run with the requests that are still to be made about it."""

    id: str
    changes: list[Request]
    reads: list[Request]
    deciders: list[str] = field(default_factory=lambda: list(_DECIDERS))
    status: str = "queued"
    is_done: bool = False


@pytest.fixture(scope="module")
def odd_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStack]:
    """A stack with the default settings, except for the mock provider."""
    folder = tmp_path_factory.mktemp("odd", numbered=True)
    folder.chmod(0o755)
    with lab_stack(folder, {"SBX_MODE": "mock", "OC_MODE": "replay"}, workers=2) as running:
        yield running


@pytest.mark.parametrize(
    ("contract", "strategy"), [(Intent, odd_requests.intents), (RunRequest, odd_requests.starts)]
)
def test_the_generator_makes_valid_intents_and_starts(
    contract: type[Intent | RunRequest], strategy: st.SearchStrategy[dict[str, Any]]
) -> None:
    for body in _examples(strategy, 200):
        contract.from_json(body)


def test_the_generator_knows_every_operation_with_every_field_and_parameter() -> None:
    requests = CHANGES | READS | DEPLOYMENT
    published = dict(_published())
    assert published.keys() - requests.keys() - _STARTS.keys() == _NOT_GENERATED
    names = {
        operation: {name for body in _examples(strategy, 100) for name in body}
        for operation, strategy in _STARTS.items()
    }
    for operation, strategy in requests.items():
        examples = _examples(strategy, 100 if published[operation] else 1)
        names[operation] = {name for each in examples for name in [*(each.body or ()), *each.query]}
    assert names == {operation: published[operation] for operation in names}


@pytest.mark.timeout(60 + SECONDS * 2)
def test_every_accepted_request_comes_to_its_end(odd_stack: LabStack) -> None:
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    with (
        httpx.Client(base_url=odd_stack.url, timeout=60, limits=limits) as client,
        locate(odd_stack.settings).connect(autocommit=True) as connection,
        ThreadPoolExecutor(CLIENTS) as threads,
    ):
        started = _submitted(client, threads)
        assert len(started) > COUNT * 0.75, "the generator makes intents that the API refuses"
        _end(client, threads, connection, started)
        assert {run.id: run.status for run in started if run.status not in [*_ENDED, "waiting_input"]} == {}
        deaths = connection.execute("SELECT count(*) AS deaths FROM app.worker_deaths").fetchone()
        broken = [verdict.law for verdict in oracle.judge(connection) if not verdict.holds]
        errors = [row["error"] for row in connection.execute("SELECT error FROM app.runs WHERE error IS NOT NULL")]
    assert (deaths, broken) == ({"deaths": 0}, [])
    assert [error for error in errors if "Traceback" in error or "pydantic" in error] == []
    assert _errors_in(odd_stack.settings.logs) == []


def _examples(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """The same examples of a strategy each time."""
    found: list[Any] = []

    @settings(max_examples=count, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def look(example: Any) -> None:
        found.append(example)

    look()
    return found


def _published() -> Iterator[tuple[str, set[str]]]:
    """The operations of the API with the names of their fields and parameters."""
    document = api().openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            names = {each["name"] for each in operation.get("parameters", []) if each["in"] == "query"}
            content = operation.get("requestBody", {}).get("content", {})
            for schema in (each["schema"] for each in content.values()):
                contract = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
                names |= contract["properties"].keys()
            yield f"{method.upper()} {path}", names


def _submitted(client: httpx.Client, threads: ThreadPoolExecutor) -> list[OddRun]:
    """The runs of the intents that were accepted. One whose start is refused is started without odd fields."""
    examples = _examples(
        st.tuples(
            odd_requests.intents,
            odd_requests.starts,
            st.lists(st.one_of(*CHANGES.values()), max_size=3),
            st.lists(st.one_of(*READS.values()), max_size=2),
            st.none() | st.one_of(*DEPLOYMENT.values()),
        ),
        COUNT,
    )

    def submit(numbered: tuple[int, tuple[Any, ...]]) -> OddRun | None:
        number, (intent, start, changes, reads, deployment) = numbered
        if deployment is not None:
            _accepted(_send(client, deployment))
        # Two equal intents would be one run.
        intent["inputs"]["number"] = number
        stored = client.post("/intents", json=intent)
        if not _accepted(stored):
            return None
        path = f"/intents/{stored.json()['intentId']}/run"
        answers = (client.post(path, json=body) for body in (start, _PLAIN_START))
        run = next((answer.json()["runId"] for answer in answers if _accepted(answer)), None)
        return None if run is None else OddRun(run, [*changes], [*reads])

    return [run for run in threads.map(submit, enumerate(examples)) if run is not None]


def _accepted(answer: httpx.Response) -> bool:
    """Whether a request was accepted. A refusal has a sentence."""
    if answer.is_success:
        return True
    # 403: a policy may exclude the person.
    assert answer.status_code in (400, 403, 404, 409), (
        answer.request.url,
        answer.request.content[:500],
        answer.text,
    )
    problem = answer.json()
    assert problem["error"] and "\n" not in problem["error"], answer.text
    return False


def _end(
    client: httpx.Client, threads: ThreadPoolExecutor, connection: Connection, started: Iterable[OddRun]
) -> None:
    """Make the requests about every run at its gates and after its end, then decide it, until it ends.

    A run that needs other people than those who decide stays at its open gate.
    """
    runs = {run.id: run for run in started}
    deadline = time.monotonic() + SECONDS
    while runs and time.monotonic() < deadline:
        gates = [gate for gate in human_gates.waiting(connection, 10 * COUNT) if gate.run_id in runs]
        ended = connection.execute(_LAST_STATUSES, {"runs": list(runs), "ended": _ENDED}).fetchall()
        for row in ended:
            runs[row["id"]].status = row["status"]
        list(threads.map(partial(_at_gate, client), [runs[gate.run_id] for gate in gates], gates))
        list(threads.map(partial(_after_end, client), [runs[row["id"]] for row in ended]))
        runs = {run.id: run for run in runs.values() if not run.is_done}
        time.sleep(0.2)


def _at_gate(client: httpx.Client, run: OddRun, gate: ListedGate) -> None:
    """Make the next request about a run that waits at a gate, or a decision; it is done when nobody is left."""
    if run.changes:
        request = run.changes.pop(0)
    elif not run.deciders:
        run.status, run.is_done = "waiting_input", True
        return
    elif gate.purpose == ASK_GATE:
        body = {"answeredBy": run.deciders.pop(0), "answer": odd_requests.ANSWER}
        request = Request("POST /runs/{run_id}/gates/{gate_key}/answer", body)
    else:
        request = Request("POST /runs/{run_id}/approve-plan", {"approvedBy": run.deciders.pop(0)})
    _accepted(_send(client, request, run, gate))


def _after_end(client: httpx.Client, run: OddRun) -> None:
    """Make the next request about a run that has ended; it is done when there is none. A retry begins it again."""
    if run.changes or run.reads:
        _accepted(_send(client, (run.changes or run.reads).pop(0), run))
        run.deciders = list(_DECIDERS)
    else:
        run.is_done = True


def _send(
    client: httpx.Client, request: Request, run: OddRun | None = None, gate: ListedGate | None = None
) -> httpx.Response:
    """Send a request about a run, at a gate of it."""
    run_id = run.id if run else "run_" + "0" * 32
    path = request.path.format(
        run_id=run_id,
        gate_key=gate.gate_key if gate else plan_gate_key(run_id),
        uri=artifact_uri(run_id, "CompileST", "", "plan.json"),
        policy_id="odd",
        name="odd",
    )
    known = {RUN: run_id, PLAN_SHA256: gate.current_sha256 if gate else "0" * 64}

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return known.get(value, value)
        if isinstance(value, list):
            return [filled(each) for each in value]
        if isinstance(value, dict) and value.keys() == {EDITED}:
            plan = client.get(f"/runs/{run_id}/plan").json().get("plan", {})
            return {**plan, **value[EDITED]}
        return {key: filled(each) for key, each in value.items()} if isinstance(value, dict) else value

    content = {} if request.body is None else {"json": filled(request.body)}
    return client.request(request.method, path, params=filled(request.query), **content)


def _errors_in(folder: Path) -> list[str]:
    """The lines of logs that report an error."""
    found = []
    for log in sorted(folder.glob("*.log")):
        content = log.read_text(errors="replace")
        found += [f"{log.name}: {content[match.start() :][:300]}" for match in _ERROR.finditer(content)]
    return found
