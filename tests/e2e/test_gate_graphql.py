"""A person decides in Dagster: the jobs approve_plan, reject_plan and answer_gate, launched over GraphQL."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from sisu_pipeline.console.api_client import Api
from sisu_pipeline.proof.harness.lab_stack import LabStack
from tests.e2e.conftest import Sisu, until
from tests.e2e.test_gate import FORM, start, status

_LAUNCH = """
mutation Launch($execution: ExecutionParams!) {
  launchRun(executionParams: $execution) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_STATUS = "query Status($runId: ID!) { runOrError(runId: $runId) { ... on Run { status } } }"
_ENDS = ("SUCCESS", "FAILURE", "CANCELED")


class Dagster:
    """Dagster's GraphQL over HTTP, as its own UI uses it."""

    def __init__(self, url: str, token: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        self._url = f"{url}/graphql"
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._headers.update(headers or {})

    def job(self, name: str, config: dict[str, Any], tags: Sequence[dict[str, str]] = ()) -> str:
        """Launch a job of ours and return how it ended."""
        selector = {
            "repositoryLocationName": "sisu_pipeline",
            "repositoryName": "__repository__",
            "jobName": name,
        }
        execution = {"selector": selector, "runConfigData": {"ops": {f"{name}_op": {"config": config}}}}
        if tags:
            execution["executionMetadata"] = {"tags": list(tags)}
        launched = self._ask(_LAUNCH, {"execution": execution})["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run = {"runId": launched["run"]["runId"]}
        until(lambda: self._status(run) in _ENDS, f"{name} ended")
        return self._status(run)

    def _status(self, run: dict[str, str]) -> str:
        return str(self._ask(_STATUS, run)["runOrError"]["status"])

    def _ask(self, query: str, variables: dict[str, Any]) -> Any:
        answer = httpx.post(
            self._url,
            json={"query": query, "variables": variables},
            timeout=30,
            trust_env=False,
            headers=self._headers,
        )
        assert "errors" not in answer.json(), answer.text
        return answer.json()["data"]


@pytest.fixture(scope="module")
def dagster(stack: LabStack) -> Dagster:
    """The stack's webserver."""
    return Dagster(stack.admin_url)


def test_a_question_is_answered_and_the_plan_approved_in_dagster(api: Api, dagster: Dagster, sisu: Sisu) -> None:
    run = start(api, "Asked in Dagster", {"askUser": {"question": "Where to?", "form": FORM}}, ["t1"])
    until(lambda: status(api, run) == ("waiting_input", "ANSWER"), "it waits for an answer")
    (gate,) = api.get("runs", run, "gates")["gates"]
    answer = {"run_id": run, "gate_key": gate["gateKey"], "answered_by": "ann"}
    assert dagster.job("answer_gate", answer | {"answer": {"environment": "the moon"}}) == "FAILURE"
    assert status(api, run) == ("waiting_input", "ANSWER")
    assert dagster.job("answer_gate", answer | {"answer": {"environment": "staging"}}) == "SUCCESS"
    until(lambda: status(api, run) == ("waiting_input", "APPROVE_PLAN"), "it waits for an approval")
    another = {"run_id": run, "decided_by": "ann", "plan_sha256": "0" * 64}
    assert dagster.job("approve_plan", another) == "FAILURE"
    approval = another | {"plan_sha256": api.get("runs", run, "plan")["planSha256"]}
    assert dagster.job("approve_plan", approval) == "SUCCESS"
    until(lambda: status(api, run)[0] == "succeeded", "it succeeds")
    recorded = api.get("runs", run, "interactions")["interactions"]
    assert [(each["kind"], each["actor"]) for each in recorded] == [("answer", "ann"), ("approve", "ann")]
    assert sisu("oracle").status == 0


def test_a_plan_is_rejected_in_dagster_and_cannot_be_approved_there_afterwards(
    api: Api, dagster: Dagster, sisu: Sisu
) -> None:
    run = start(api, "Rejected in Dagster", {}, ["t1"])
    until(lambda: status(api, run) == ("waiting_input", "APPROVE_PLAN"), "it waits for an approval")
    rejection = {"run_id": run, "decided_by": "bob", "notes": "too risky"}
    assert dagster.job("reject_plan", rejection) == "SUCCESS"
    assert dagster.job("approve_plan", {"run_id": run, "decided_by": "ann"}) == "FAILURE"
    until(lambda: status(api, run)[0] == "retries_exceeded", "its rejection ends it")
    decision = api.get("runs", run)["decision"]
    assert (decision["decision"], decision["decidedBy"], decision["notes"]) == ("rejected", "bob", "too risky")
    assert sisu("oracle").status == 0
