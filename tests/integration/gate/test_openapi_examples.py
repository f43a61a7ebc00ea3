"""The example of each request of the OpenAPI document gets its documented success from a real API."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from resources.database import Database
from sisu_pipeline.api.http.openapi_examples import REQUESTS
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing import dbos_queues
from sisu_pipeline.store import runs
from tests.builders import a_run, an_intent
from tests.docs_generators.api_page import api as documented_api
from tests.integration.api.conftest import Api, Live, dependencies_over, serving
from tests.integration.gate.conftest import a_token
from tests.integration.gate.test_ask import ASK
from tests.integration.gate.world import Waiting

OPERATIONS = {
    operation["operationId"]: (path, operation)
    for path, operations in documented_api().openapi()["paths"].items()
    for operation in operations.values()
}
Example = dict[str, Any]


@pytest.fixture(scope="module")
def live(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An API of a deployment whose plans a coding agent makes: people may request changes."""
    folder = tmp_path_factory.mktemp("examples")
    with serving(replace(dependencies_over(database, folder), asks_agent=True)) as running:
        yield running


def waiting(api: Api, **life: Any) -> Waiting:
    """A run at its gate, whose plan is the built-in planner's."""
    return Waiting(replace(api.dependencies, asks_agent=False), **life)


def at_its_gate(api: Api, example: Example) -> dict[str, str]:
    life = waiting(api)
    for plan in example.get("plans", []):
        plan |= {"runId": life.run_id, "planSha256": life.plan_hash(api.client)}
    return {"run_id": life.run_id}


def at_its_question(api: Api, example: Example) -> dict[str, str]:
    life = waiting(api, constraints=ASK)
    return {"run_id": life.run_id, "gate_key": life.rows("human_gates")[0]["gate_key"]}


def submitted(api: Api, example: Example) -> dict[str, str]:
    intent = {"goal": "an example", "inputs": {}, "constraints": {}}
    return {"intent_id": api.post("/intents", intent).json()["intentId"]}


def failed(api: Api, example: Example) -> dict[str, str]:
    with api.dependencies.database.connect() as connection:
        run = a_run(connection, an_intent("an example that fails"))
        runs.move(connection, runs.move(connection, run, RunStatus.RUNNING), RunStatus.FAILED)
    return {"run_id": run.id}


def with_a_token(api: Api, example: Example) -> dict[str, str]:
    example["token"] = a_token(api.dependencies.database, "ada", Role.APPROVER)
    return {}


def of_two_versions(api: Api, example: Example) -> dict[str, str]:
    dbos_queues.migrate(api.dependencies.database)
    with api.dependencies.database.connect() as connection:
        a_run(connection)
        connection.execute("DELETE FROM dbos.application_versions")
        connection.execute("INSERT INTO dbos.application_versions (version_id, version_name) VALUES ('i', 'v2')")
    return {}


def nothing(api: Api, example: Example) -> dict[str, str]:
    return {}


# What there is before a request, which returns the parameters of its path.
BEFORE: dict[str, Callable[[Api, Example], dict[str, str]]] = {
    "approve_plan": at_its_gate,
    "reject_plan": at_its_gate,
    "request_changes": at_its_gate,
    "decide_many": at_its_gate,
    "assign_run": at_its_gate,
    "cancel": at_its_gate,
    "answer_gate": at_its_question,
    "start_run": submitted,
    "retry": failed,
    "open_session": with_a_token,
    "adopt_version": of_two_versions,
}


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_an_example_gets_the_documented_success(api: Api, name: str) -> None:
    path, operation = OPERATIONS[name]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    sent = {**example, **({"plans": [dict(plan) for plan in example["plans"]]} if "plans" in example else {})}
    url = path.format(**BEFORE.get(name, nothing)(api, sent))
    answered = api.client.post(url, json=sent, headers={"Origin": api.url} if name == "open_session" else {})
    successes = {status for status in operation["responses"] if status.startswith("2")}
    assert str(answered.status_code) in successes, answered.text
    if name == "decide_many":
        assert answered.json()["refused"] == 0, answered.text
