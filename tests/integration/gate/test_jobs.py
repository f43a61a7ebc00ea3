"""Dagster's jobs take what the API takes, as it is: no text of theirs names a variable of the environment."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from sisu_pipeline.defs import jobs
from sisu_pipeline.domain.identity import run_id
from tests.integration.api.conftest import Api

SECRET = {"env": "PATH"}


@pytest.fixture(autouse=True)
def _over_the_api(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "dependencies", lambda: api.dependencies)


def submit(config: dict[str, Any]) -> str:
    done = jobs.submit_intent.execute_in_process({"ops": {"submit_intent_op": {"config": config}}})
    return str(done.output_for_node("submit_intent_op"))


def test_a_job_submits_an_intent_with_its_connectors(api: Api) -> None:
    intent = {"goal": "by job", "inputs": {"a": [1]}, "constraints": {}, "connectors": ["jira"]}
    submitted = submit({**intent, "run": {"queuePartitionKey": "team-a", "recipeName": "sandbox-default"}})
    assert api.post("/intents", intent).json() == {"intentId": submitted, "isReplay": True}
    assert api.get(f"/runs/{run_id(submitted)}").json()["queuePartitionKey"] == "team-a"


@pytest.mark.parametrize("name", ["goal", "connectors"])
def test_a_text_that_names_a_variable_is_refused_and_nothing_is_written(
    api: Api, contents: Callable[[], dict[str, str]], name: str
) -> None:
    before = contents()
    with pytest.raises(dg.DagsterInvalidConfigError):
        submit({"goal": "g", name: SECRET if name == "goal" else [SECRET]})
    assert contents() == before


def test_a_variable_named_in_the_inputs_is_no_more_than_its_text(api: Api) -> None:
    submitted = submit({"goal": "g", "inputs": {"note": SECRET}})
    intent = {"goal": "g", "inputs": {"note": SECRET}, "constraints": {}}
    assert api.post("/intents", intent).json()["intentId"] == submitted


@pytest.mark.parametrize(
    ("job", "op"), [(jobs.approve_plan, "approve_plan_op"), (jobs.reject_plan, "reject_plan_op")]
)
def test_a_decision_takes_no_name_from_the_environment(job: dg.JobDefinition, op: str) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        job.execute_in_process({"ops": {op: {"config": {"run_id": "run_1", "decided_by": SECRET}}}})
