"""GET /runs and GET /runs/{id}."""

import re

import pytest
from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.steps.step_result import PLAN_GATE, Artifact, Gate, StepResult, json_artifact
from sisu_pipeline.store import runs, steps
from sisu_pipeline.store.outputs import artifacts
from sisu_pipeline.store.runs import Run
from tests.builders import a_run, an_intent
from tests.integration.api.conftest import Api

PLAN = "a" * 64
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def _artifact(index: int, *, size: int = 1, task: str = "") -> Artifact:
    uri = f"artifact://run/r/step/ExecuteST/task/{task}/{index}"
    return Artifact("ExecuteST", index, "text", uri, {"text": "x" * size}, f"{index:064x}", task)


def _task(connection: Connection, run: Run, position: int, code: str) -> None:
    connection.execute(
        "INSERT INTO app.sbx_runs (run_id, step_id, task_key, attempt, position, provider, request, response,"
        " err_code, metrics) VALUES (%s, 'ExecuteST', %s, 1, %s, 'mock', '{}', '{}', %s, '{}')",
        [run.id, f"task-{position}", position, code],
    )


def test_a_new_run_has_nothing_but_its_identity(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        run = a_run(connection, traceId="trace-1", tenantId="acme")
    view = api.get(f"/runs/{run.id}").json()
    assert TIME.fullmatch(view.pop("createdAt"))
    assert TIME.fullmatch(view.pop("updatedAt"))
    assert view == {
        "runId": run.id,
        "workflowId": run.intent_id,
        "intentId": run.intent_id,
        "status": "queued",
        "lastStep": None,
        "retryCount": 0,
        "recipeRef": {"id": "rcp_compile_default_v1", "v": "1"},
        "recipeHash": run.recipe_hash,
        "policyRef": {"id": "default", "v": "1", "sha256": run.policy_sha256},
        "intentHash": run.intent_id.removeprefix("ih_"),
        "traceId": "trace-1",
        "tenantId": "acme",
        "queuePartitionKey": "team-a",
        "lane": "interactive",
        "priority": 1,
        "dagsterRunId": None,
        "gate": None,
        "decision": None,
        "tasks": {"finished": 0, "failed": 0},
        "steps": [],
        "artifacts": [],
        "artifactCount": 0,
    }


def test_steps_gate_and_artifacts_show_once_they_are_committed(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
        gate = Gate("approve-plan-1", StepId.APPLY_PATCH, PLAN_GATE, PLAN)
        card = json_artifact(run.id, StepId.APPLY_PATCH, 0, "plan_card", "plan.json", {"goal": "g"})
        result = StepResult(StepId.APPLY_PATCH, {"goal": "g", "big": 1e21}, (card,), gate)
        steps.commit(connection, run, result, api.dependencies.blobs)
    view = api.get(f"/runs/{run.workflow_id}").json()
    [step] = view["steps"]
    assert (step["stepId"], step["phase"], step["output"]) == (
        "ApplyPatchST",
        "patching",
        {"goal": "g", "big": 1e21},
    )
    assert TIME.fullmatch(step["startedAt"]) and TIME.fullmatch(step["finishedAt"])
    assert view["lastStep"] == "ApplyPatchST"
    assert (view["gate"]["gateKey"], view["gate"]["planSha256"]) == ("approve-plan-1", PLAN)
    assert view["artifacts"] == [
        {
            "kind": "plan_card",
            "sha256": card.sha256,
            "uri": card.uri,
            "stepId": "ApplyPatchST",
            "taskKey": "",
            "sizeBytes": card.size_bytes,
            "inline": {"goal": "g"},
        }
    ]


def test_content_of_tasks_and_of_large_artifacts_is_left_to_the_artifact_route(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
        kept = [_artifact(0), _artifact(1, size=70_000), _artifact(0, task="t")]
        artifacts.insert(connection, run.id, kept, api.dependencies.blobs)
    shown = api.get(f"/runs/{run.id}").json()["artifacts"]
    assert [("inline" in each, each["sizeBytes"]) for each in shown] == [
        (True, kept[0].size_bytes),
        (False, kept[1].size_bytes),
        (False, kept[2].size_bytes),
    ]


def test_at_most_a_thousand_artifacts_are_listed_and_all_are_counted(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
        artifacts.insert(connection, run.id, [_artifact(index) for index in range(1001)], api.dependencies.blobs)
    view = api.get(f"/runs/{run.id}").json()
    assert (len(view["artifacts"]), view["artifactCount"]) == (1000, 1001)


def test_tasks_are_counted_against_what_the_decision_says_to_execute(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
        build = {"patch": [], "tests": ["a", "b", "a", "c"], "test_command": "t"}
        result = StepResult(StepId.DECIDE, {"structured": build})
        steps.commit(connection, run, result, api.dependencies.blobs)
        _task(connection, run, 0, "NONE")
        _task(connection, run, 1, "CMD_NONZERO")
    assert api.get(f"/runs/{run.id}").json()["tasks"] == {"total": 3, "finished": 2, "failed": 1}


def test_a_decision_without_tests_is_one_task(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
        build = {"patch": [], "tests": [], "test_command": "t"}
        steps.commit(connection, run, StepResult(StepId.DECIDE, {"structured": build}), api.dependencies.blobs)
    assert api.get(f"/runs/{run.id}").json()["tasks"]["total"] == 1


def test_error_and_next_action_show_when_there_are_any(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        run = runs.move(connection, a_run(connection), RunStatus.RUNNING)
        runs.move(connection, run, RunStatus.RETRIES_EXCEEDED, error="it broke", next_action="REPAIR")
    view = api.get(f"/runs/{run.id}").json()
    assert (view["status"], view["error"], view["nextAction"]) == ("retries_exceeded", "it broke", "REPAIR")


@pytest.mark.parametrize(
    "identifier",
    ["run_" + "0" * 32, "ih_" + "0" * 64, "run_", "x", "%00", "run_%0a", "%F0%9F%98%80", "..%2f..%2fetc", "%ff"],
)
def test_an_unknown_or_impossible_id_is_the_same_404(api: Api, identifier: str) -> None:
    answer = api.get(f"/runs/{identifier}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def _many(connection: Connection, count: int) -> list[str]:
    """Runs with rising ages, the newest first."""
    kept = [a_run(connection, an_intent(str(index))) for index in range(count)]
    for age, run in enumerate(kept):
        connection.execute(
            "UPDATE app.runs SET created_at = now() - %s * interval '1 s' WHERE id = %s", [age, run.id]
        )
    return [run.id for run in kept]


def test_pages_cover_every_run_once_the_newest_first(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        newest_first = _many(connection, 5)
    seen: list[str] = []
    query = "/runs?limit=2"
    for _ in range(3):
        page = api.get(query).json()
        seen += [run["runId"] for run in page["runs"]]
        query = f"/runs?limit=2&before={page['nextBefore']}"
    assert page["nextBefore"] is None
    assert seen == newest_first


def test_a_page_can_be_of_one_status(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        _many(connection, 2)
        runs.move(connection, a_run(connection, an_intent("other")), RunStatus.RUNNING)
    assert [run["status"] for run in api.get("/runs?status=running").json()["runs"]] == ["running"]


@pytest.mark.parametrize(
    "query",
    [
        "status=x",
        "status=",
        "limit=0",
        "limit=201",
        "limit=1.0",
        "limit=+1",
        "limit=%201",
        "limit=1_0",
        "limit=",
        "limit=99999999999999999999",
        "limit=1&limit=1",
        "before=x",
        "before=run_" + "0" * 32 + "%0a",
        "before=%00",
        "what=ever",
        "Limit=1",
        "=",
    ],
)
def test_an_unknown_or_malformed_parameter_is_a_400(api: Api, query: str) -> None:
    answer = api.get(f"/runs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_query")
    assert answer.content == api.get(f"/runs?{query}").content


@pytest.mark.parametrize("path", ["/healthz", "/ops/queue-depth", "/runs/x", "/runs/x/events", "/artifacts/x"])
def test_a_route_without_parameters_refuses_any(api: Api, path: str) -> None:
    assert api.get(f"{path}?x=1").status_code == 400


def test_a_page_before_an_unknown_run_is_a_404(api: Api) -> None:
    assert api.get("/runs?before=run_" + "0" * 32).status_code == 404


def test_stored_json_comes_back_as_it_was(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
        connection.execute(
            "INSERT INTO app.run_steps (run_id, step_id, phase, output, started_at)"
            " VALUES (%s, 'CompileST', 'compilation', %s, now())",
            [run.id, Jsonb({"é": [1, 1.5, None, "\u2028", 5e-324]})],
        )
    assert api.get(f"/runs/{run.id}").json()["steps"][0]["output"] == {"é": [1, 1.5, None, "\u2028", 5e-324]}


def test_a_runs_page_shows_a_bounded_part_of_an_output_of_megabytes(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
        connection.execute(
            "INSERT INTO app.run_steps (run_id, step_id, phase, output, started_at)"
            " VALUES (%s, 'ExecuteST', 'execution', %s, now())",
            [run.id, Jsonb({"exit": 0, "stdout": "y" * 5_000_000})],
        )
    answer = api.get(f"/runs/{run.id}")
    (step,) = answer.json()["steps"]
    assert len(answer.content) < 50_000
    assert step["outputIsCut"] is True
    assert step["output"]["exit"] == 0
    assert step["output"]["stdout"].endswith("y… (cut after 32768 of 5000000 characters)")
