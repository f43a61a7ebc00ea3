"""Names that are the system's, blank, too long or invisible are refused for people on every path."""

from collections.abc import Callable
from typing import Any

import pytest

from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.gate import PlanApprovalRequest
from sisu_pipeline.contracts.person_name import checked_name
from sisu_pipeline.defs import jobs
from sisu_pipeline.domain.errors import NameRefused
from sisu_pipeline.store.access import tokens
from sisu_pipeline.workflow import commands, submission
from tests.builders import an_intent
from tests.integration.api.conftest import Api
from tests.integration.gate.test_cli import sisu
from tests.integration.gate.world import Waiting

Contents = Callable[[], dict[str, str]]
REFUSED = [
    "sisu:deadline",
    "SISU:deadline",
    " sisu:x",
    "\uff53isu:deadline",
    "policy:default@1",
    " ",
    "\u00a0",
    "a" * 201,
    "ann\x1b[2K",
    "ann\nbob",
    "ann\u202e",
    "a\u200bnn",
]
names = pytest.mark.parametrize("name", REFUSED, ids=ascii)


@names
def test_a_request_under_such_a_name_is_a_400_and_writes_nothing(api: Api, contents: Contents, name: str) -> None:
    run = Waiting(api.dependencies)
    before = contents()
    requests: dict[str, dict[str, Any]] = {
        "approve-plan": {"approvedBy": name},
        "reject-plan": {"rejectedBy": name, "reason": "no"},
        "gates/ask-user-0/answer": {"answeredBy": name, "answer": {}},
        "cancel": {"actor": name},
        "retry": {"actor": name},
    }
    for verb, body in requests.items():
        answer = api.post(f"/runs/{run.run_id}/{verb}", body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_contract"), verb
    assert contents() == before


@names
def test_such_a_name_owns_no_token_and_submits_and_decides_nothing(api: Api, contents: Contents, name: str) -> None:
    run = Waiting(api.dependencies)
    before = contents()
    database = api.dependencies.database
    with pytest.raises(ValueError, match="name"), database.connect() as connection:
        tokens.create(connection, "sisu_x", name, [Role.APPROVER])
    # A token of an earlier release may belong to such a name.
    with pytest.raises(NameRefused), database.connect() as connection:
        submission.submit_intent(connection, an_intent("by nobody"), name)
    with pytest.raises(NameRefused), database.connect() as connection:
        commands.decide(connection, run.run_id, PlanApprovalRequest(approved_by="ann"), name)
    assert contents() == before


@pytest.mark.parametrize("name", ["sisu:deadline", "ann\x1b[2K"], ids=ascii)
def test_the_command_line_refuses_such_a_name(api: Api, name: str) -> None:
    run = Waiting(api.dependencies)
    assert sisu(api, "gate", "approve", run.run_id, "--by", name, status=1)["code"] == "invalid_contract"
    refused = sisu(api, "token", "create", name, "--role", "approver", status=1, url=False)
    assert refused["code"] == "no_owner"


@pytest.mark.parametrize("name", ["sisu:deadline", "policy:default@1"])
def test_dagsters_jobs_refuse_such_a_name(api: Api, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(jobs, "dependencies", lambda: api.dependencies)
    configuration = {"run_id": "run_1", "decided_by": name, "notes": "no"}
    for job, op in ((jobs.approve_plan, "approve_plan_op"), (jobs.reject_plan, "reject_plan_op")):
        done = job.execute_in_process({"ops": {op: {"config": configuration}}}, raise_on_error=False)
        (failure,) = [event for event in done.all_events if event.is_step_failure]
        assert "are reserved for the system" in str(failure.step_failure_data.error)


@pytest.mark.parametrize("name", ["ann", "Ann Müller", "李雷", "o'neil@example.com", "sisu", "policy", "a" * 200])
def test_other_names_are_accepted(name: str) -> None:
    assert checked_name(name) == name
