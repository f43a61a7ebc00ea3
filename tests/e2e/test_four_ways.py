"""One intent, however it comes in: REST, CLI, a Dagster job over GraphQL, rows written by hand."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from resources.database import Database
from sisu_pipeline.console.api_client import Api
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.domain.identity import intent_id, run_id
from sisu_pipeline.proof.harness.lab_stack import LabStack
from tests.e2e.conftest import Sisu, until

_RUN = {"recipeName": "sandbox-default", "queuePartitionKey": "four-ways"}
_TESTS = ["a", "b"]

Way = Callable[[Intent], None]

_LAUNCH = """
mutation Launch($execution: ExecutionParams!) {
  launchRun(executionParams: $execution) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
_STATUS = "query Status($runId: ID!) { runOrError(runId: $runId) { ... on Run { status } } }"

_INSERT_INTENT = "INSERT INTO app.intents (id, goal, payload) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_INSERT_RUN = """
INSERT INTO app.runs (id, intent_id, workflow_id, recipe_id, recipe_version, recipe_hash, queue_partition_key)
SELECT %(run)s, %(intent)s, %(intent)s, id, version, hash, %(partition)s
FROM app.recipes WHERE name = 'sandbox-default' ON CONFLICT DO NOTHING
"""


@pytest.fixture
def ways(stack: LabStack, sisu: Sisu, api: Api, stack_database: Database) -> dict[str, Way]:
    """How an intent can be submitted and started."""

    def rest(intent: Intent) -> None:
        kept = api.post("intents", body=json.dumps(intent.to_json()).encode())
        api.post("intents", kept["intentId"], "run", body=json.dumps(_RUN).encode())

    def cli(intent: Intent) -> None:
        kept = sisu("intent", "submit", "-", "--json", stdin=json.dumps(intent.to_json())).document
        started = sisu("run", "start", kept["intentId"], "--partition", _RUN["queuePartitionKey"])
        assert started.status == 0, started.stderr

    def graphql(intent: Intent) -> None:
        _run_job(stack.admin_url, {**intent.to_json(), "run": _RUN})

    def sql(intent: Intent) -> None:
        payload = canonical_json({"inputs": intent.inputs, "constraints": intent.constraints})
        identifier = intent_id(intent)
        with stack_database.connect() as connection:
            connection.execute(_INSERT_INTENT, [identifier, intent.goal, payload])
            values = {"run": run_id(identifier), "intent": identifier, "partition": _RUN["queuePartitionKey"]}
            connection.execute(_INSERT_RUN, values)

    return {"rest": rest, "cli": cli, "graphql": graphql, "sql": sql}


@pytest.mark.parametrize("first", ["rest", "cli", "graphql", "sql"])
def test_the_same_intent_four_ways_is_one_intent_one_run_one_set_of_rows(
    first: str, ways: dict[str, Way], api: Api, stack_database: Database
) -> None:
    intent = Intent(goal=f"four ways, {first} first", inputs={"tests": _TESTS}, constraints={})
    for way in (first, *(name for name in ways if name != first)):
        ways[way](intent)
    run = run_id(intent_id(intent))
    api.post("runs", run, "approve-plan", body=b'{"approvedBy": "po"}')
    *_, last = api.run_events(run)
    assert last["status"] == "succeeded"
    assert _rows(stack_database, intent) == {
        "intents": 1,
        "runs": 1,
        "steps": 4,
        "tasks": 2,
        "executions": 2,
        "dagster_runs": 1,
    }


def _rows(database: Database, intent: Intent) -> dict[str, Any]:
    keys = {"goal": intent.goal, "intent": intent_id(intent), "run": run_id(intent_id(intent))}
    counts = """
    SELECT (SELECT count(*) FROM app.intents WHERE goal = %(goal)s) AS intents,
           (SELECT count(*) FROM app.runs WHERE intent_id = %(intent)s) AS runs,
           (SELECT count(*) FROM app.run_steps WHERE run_id = %(run)s) AS steps,
           (SELECT count(*) FROM app.sbx_runs WHERE run_id = %(run)s) AS tasks,
           (SELECT sum(seen_count)::int FROM app.mock_receipts WHERE run_id = %(run)s) AS executions,
           (SELECT count(*) FROM dagster.run_tags WHERE key = 'dagster/partition' AND value = %(intent)s)
               AS dagster_runs
    """
    with database.connect() as connection:
        row = connection.execute(counts, keys).fetchone()
    assert row is not None
    return dict(row)


def _run_job(admin_url: str, config: dict[str, Any]) -> None:
    selector = {
        "repositoryLocationName": "sisu_pipeline",
        "repositoryName": "__repository__",
        "jobName": "submit_intent",
    }
    execution = {"selector": selector, "runConfigData": {"ops": {"submit_intent_op": {"config": config}}}}
    launched = _graphql(admin_url, _LAUNCH, {"execution": execution})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run = {"runId": launched["run"]["runId"]}
    until(
        lambda: _graphql(admin_url, _STATUS, run)["runOrError"]["status"] in ("SUCCESS", "FAILURE"),
        "submit_intent ended",
    )
    assert _graphql(admin_url, _STATUS, run)["runOrError"]["status"] == "SUCCESS"


def _graphql(admin_url: str, query: str, variables: dict[str, Any]) -> Any:
    answer = httpx.post(f"{admin_url}/graphql", json={"query": query, "variables": variables}, timeout=30)
    assert "errors" not in answer.json(), answer.text
    return answer.json()["data"]
