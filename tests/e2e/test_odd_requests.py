"""Every odd but valid request that a stack accepts comes to its end, costs no worker its life and logs no error."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sisu_pipeline import oracle
from sisu_pipeline.contracts.intent import Intent, RunRequest
from sisu_pipeline.database_server import locate
from sisu_pipeline.proof.harness.lab_stack import LabStack, lab_stack
from tests.e2e import odd_requests

COUNT = int(os.environ.get("ODD_REQUESTS", "60"))
# Two segments and at most four tasks each, on two workers of a busy machine.
SECONDS = 180 + 3 * COUNT
Request = tuple[str, dict[str, Any]]
_WAITS_FOR: dict[str, Request] = {
    "APPROVE_PLAN": ("approve-plan", {"approvedBy": "po"}),
    "ANSWER": ("answer", {"answeredBy": "po", "answer": odd_requests.ANSWER}),
}
"""What decides a run, by what it waits for."""
_ENDED = {"succeeded", "failed", "canceled", "retries_exceeded"}
# Dagster reports a step that failed as it should at this level, with the sentence of the failure.
_ERROR = re.compile(r"Traceback \(most recent call last\)|(?<! - dagster) - ERROR - |^ERROR", re.MULTILINE)


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
def test_the_generator_knows_every_field_of_the_contract(
    contract: type[Intent | RunRequest], strategy: st.SearchStrategy[dict[str, Any]]
) -> None:
    names: set[str] = set()

    @settings(max_examples=200, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def look(body: dict[str, Any]) -> None:
        names.update(body)
        contract.from_json(body)

    look()
    assert names == {field.alias or name for name, field in contract.model_fields.items()}


@pytest.mark.slow
@pytest.mark.timeout(60 + SECONDS * 2)
def test_every_accepted_request_comes_to_its_end(odd_stack: LabStack) -> None:
    with httpx.Client(base_url=odd_stack.url, timeout=60) as client:
        started = _submitted(client)
        assert len(started) > COUNT / 4, "the generator makes requests that the API refuses"
        statuses = _ended(client, started)
    assert set(statuses.values()) <= _ENDED, statuses
    with locate(odd_stack.settings).connect(autocommit=True) as connection:
        deaths = connection.execute("SELECT count(*) AS deaths FROM app.worker_deaths").fetchone()
        broken = [verdict.law for verdict in oracle.judge(connection) if not verdict.holds]
        errors = [row["error"] for row in connection.execute("SELECT error FROM app.runs WHERE error IS NOT NULL")]
    assert (deaths, broken) == ({"deaths": 0}, [])
    assert [error for error in errors if "Traceback" in error or "pydantic" in error] == []
    assert _errors_in(odd_stack.settings.logs) == []


def _submitted(client: httpx.Client) -> dict[str, list[Request]]:
    """The runs of the requests that were accepted, and requests about each. A refusal is a 400 with a sentence."""
    started: dict[str, list[Request]] = {}

    @settings(max_examples=COUNT, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(odd_requests.intents, odd_requests.starts, st.lists(odd_requests.decisions, max_size=3))
    def submit(intent: dict[str, Any], start: dict[str, Any], requests: list[Request]) -> None:
        stored = client.post("/intents", json=intent)
        if _is_refused(stored):
            return
        answer = client.post(f"/intents/{stored.json()['intentId']}/run", json=start)
        if not _is_refused(answer):
            started.setdefault(answer.json()["runId"], requests)

    submit()
    return started


def _is_refused(answer: httpx.Response) -> bool:
    if answer.status_code in (200, 201, 202):
        return False
    # The same small intent may have been drawn before: with another start it is a 409.
    assert answer.status_code in (400, 404, 409), answer.text
    problem = answer.json()
    assert problem["error"] and "\n" not in problem["error"], answer.text
    return True


def _ended(client: httpx.Client, started: dict[str, list[Request]]) -> dict[str, str]:
    """The last status of every run: its requests are made at its gates and after its end, then it is decided."""
    statuses = dict.fromkeys(started, "queued")
    open_runs = set(started)
    deadline = time.monotonic() + SECONDS
    while open_runs and time.monotonic() < deadline:
        for run in sorted(open_runs):
            view = client.get(f"/runs/{run}").json()
            statuses[run] = view["status"]
            requests = started[run]
            if view["status"] in _ENDED and not requests:
                open_runs.discard(run)
            elif view["status"] in _ENDED or view.get("nextAction") in _WAITS_FOR:
                _request(client, view, requests.pop(0) if requests else _WAITS_FOR[view["nextAction"]])
        time.sleep(0.2)
    return statuses


def _request(client: httpx.Client, view: dict[str, Any], request: Request) -> None:
    """Make one request about a run. A refusal has a sentence: there may be no question, or a decision."""
    route, body = request
    path = f"/runs/{view['runId']}"
    if route == "answer":
        asked = [gate for gate in client.get(f"{path}/gates").json()["gates"] if gate["purpose"] == "ask-user"]
        route = f"gates/{asked[0]['gateKey'] if asked else 'ask-user-0'}/answer"
    _is_refused(client.post(f"{path}/{route}", json=body))


def _errors_in(folder: Path) -> list[str]:
    """The lines of logs that report an error."""
    found = []
    for log in sorted(folder.glob("*.log")):
        content = log.read_text(errors="replace")
        found += [f"{log.name}: {content[match.start() :][:300]}" for match in _ERROR.finditer(content)]
    return found
