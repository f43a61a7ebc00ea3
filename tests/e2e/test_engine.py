"""The engine seen from outside: what the queue's table and Dagster say at every moment of an intent's life."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from resources.database import Database
from sisu_pipeline import oracle
from sisu_pipeline.proof.harness.lab_stack import LabStack
from tests.e2e.conftest import until

PARTITION = "engine-tenant"
STOP_TIMEOUT_S = 20.0

_RUNS = """
query Runs($tags: [ExecutionTag!]!) {
  runsOrError(filter: {tags: $tags}) { ... on Runs { results { runId status } } }
}
"""
_TERMINATE = "mutation End($runId: String!) { terminateRun(runId: $runId) { __typename } }"

# One statement is one moment: the run's status and its workflows' belong together.
_MOMENT = """
SELECT r.status AS run, w.workflow_uuid AS workflow, w.status, w.queue_name AS queue,
       w.queue_partition_key AS partition
FROM app.runs r LEFT JOIN dbos.workflow_status w
  ON split_part(w.workflow_uuid, '/', 1) = r.workflow_id
  OR w.workflow_uuid IN (SELECT receipt_key FROM app.mock_receipts WHERE run_id = r.id)
WHERE r.workflow_id = %s ORDER BY w.created_at, w.workflow_uuid
"""

_MOST_EXECUTIONS = """
SELECT max(seen_count) FROM app.mock_receipts m JOIN app.runs r ON r.id = m.run_id WHERE r.workflow_id = %s
"""


class Watched:
    """An intent of the stack, and what is seen of it."""

    def __init__(self, stack: LabStack, http: httpx.Client, database: Database, intent: dict[str, Any]) -> None:
        self._stack, self._http, self._database = stack, http, database
        self.id: str = self.post("/intents", {"constraints": {}, **intent})["intentId"]
        self.post(f"/intents/{self.id}/run", {"recipeName": "sandbox-default", "queuePartitionKey": PARTITION})

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What the API answers; fails when it refuses."""
        answer: dict[str, Any] = self._http.post(path, json=body).raise_for_status().json()
        return answer

    @property
    def status(self) -> str:
        return str(self.moment()[0]["run"])

    def moment(self) -> list[dict[str, Any]]:
        """The run and its workflows at one moment."""
        with self._database.connect() as connection:
            return connection.execute(_MOMENT, [self.id]).fetchall()

    def workflows(self, queue: str) -> dict[str, str]:
        return {row["workflow"]: row["status"] for row in self.moment() if row["queue"] == queue}

    def approve(self) -> None:
        self.post(f"/runs/{self.id}/approve-plan", {"approvedBy": "po"})

    def cancel(self) -> None:
        self.post(f"/runs/{self.id}/cancel", {})

    def dagster_runs(self) -> list[tuple[str, str]]:
        """Id and status of every Dagster run of the intent's partition."""
        tags = [{"key": "dagster/partition", "value": self.id}]
        answer = graphql(self._stack, _RUNS, {"tags": tags})
        return [(run["runId"], run["status"]) for run in answer["runsOrError"]["results"]]

    def value(self, statement: str) -> Any:
        with self._database.connect() as connection:
            row = connection.execute(statement, [self.id]).fetchone()
        assert row is not None
        (value,) = row.values()
        return value


def graphql(stack: LabStack, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    body = {"query": query, "variables": variables}
    answer: dict[str, Any] = httpx.post(f"{stack.admin_url}/graphql", json=body, timeout=30).json()["data"]
    return answer


@pytest.fixture
def watched(stack: LabStack, stack_database: Database, request: pytest.FixtureRequest) -> Iterator[Watched]:
    tests, command = request.param
    intent = {"goal": request.node.name, "inputs": {"tests": tests, "testCommand": command}}
    with httpx.Client(base_url=stack.url, timeout=30) as http:
        yield Watched(stack, http, stack_database, intent)


@pytest.fixture(autouse=True)
def lawful(stack_database: Database) -> Iterator[None]:
    """Whatever a test did, the oracle has nothing to say afterwards."""
    yield
    with stack_database.connect() as connection:
        broken = {v.law: v.rows for v in oracle.judge(connection) if not v.holds}
    assert broken == {}


@pytest.mark.parametrize("watched", [(["1.5", "1.6"], "sleep")], indirect=True)
def test_the_queues_table_tells_the_truth_at_every_moment_and_the_intent_has_one_dagster_run(
    watched: Watched,
) -> None:
    seen: set[tuple[str, str | None]] = set()

    def waits() -> bool:
        moment = watched.moment()
        seen.update((row["run"], row["status"]) for row in moment)
        assert {row["queue"] for row in moment} <= {None, "intentQ"}
        return moment[0]["run"] == "waiting_input" and watched.workflows("intentQ") == {watched.id: "SUCCESS"}

    until(waits, "the intent waits, and nothing of it is queued")
    assert seen & {("queued", "ENQUEUED"), ("queued", "PENDING"), ("running", "PENDING")}, "planning was not seen"
    assert ("succeeded", "SUCCESS") not in seen
    (dagster_run,) = watched.dagster_runs()
    assert dagster_run[1] == "SUSPENDED"

    watched.approve()
    second = f"{watched.id}/2"
    until(lambda: len(watched.workflows("sbxQ")) == 2, "both tasks are on sbxQ")
    moment = watched.moment()
    assert watched.workflows("intentQ") == {watched.id: "SUCCESS", second: "PENDING"}
    assert set(watched.workflows("sbxQ").values()) == {"PENDING"}
    assert {row["partition"] for row in moment} == {PARTITION}
    assert moment[0]["run"] == "running"
    assert watched.dagster_runs() == [(dagster_run[0], "STARTED")]

    until(lambda: {row["status"] for row in watched.moment()} == {"SUCCESS"}, "every workflow has ended")
    assert watched.status == "succeeded"
    until(lambda: watched.dagster_runs() == [(dagster_run[0], "SUCCESS")], "Dagster says so too")


@pytest.mark.parametrize("watched", [(["a"], "run")], indirect=True)
def test_dagster_does_not_end_a_suspended_run_and_says_so(watched: Watched, stack: LabStack) -> None:
    until(lambda: watched.status == "waiting_input", "the intent waits")
    until(lambda: [status for _, status in watched.dagster_runs()] == ["SUSPENDED"], "Dagster shows it")
    ((dagster_run, _),) = watched.dagster_runs()
    answer = graphql(stack, _TERMINATE, {"runId": dagster_run})
    assert answer["terminateRun"]["__typename"] == "TerminateRunFailure"
    assert watched.status == "waiting_input"
    watched.cancel()
    until(lambda: watched.dagster_runs() == [(dagster_run, "CANCELED")], "the API ends both")


@pytest.mark.parametrize("watched", [(["0.5", "9"], "sleep")], indirect=True)
@pytest.mark.slow
def test_workers_asked_to_stop_with_tasks_in_flight_go_in_time_and_lose_nothing(
    watched: Watched, stack: LabStack
) -> None:
    """One task ends within the workers' deadline, the other does not: it is handed back and adopted."""
    until(lambda: watched.status == "waiting_input", "the intent waits")
    watched.approve()
    until(lambda: len(watched.workflows("sbxQ")) == 2, "both tasks run")
    groups = [
        child
        for child in psutil.Process(stack.pid).children()
        if "sisu_pipeline.worker" in " ".join(child.cmdline())
    ]
    assert len(groups) == 2
    began = time.monotonic()
    for group in groups:
        os.kill(group.pid, signal.SIGTERM)
    _, left = psutil.wait_procs(groups, timeout=STOP_TIMEOUT_S)
    assert not left, f"still there after {time.monotonic() - began:.0f} s"
    until(lambda: watched.status == "succeeded", "the workers started in their place go on")
    assert watched.value(_MOST_EXECUTIONS) == 1
    until(lambda: {row["status"] for row in watched.moment()} == {"SUCCESS"}, "every workflow has ended")
