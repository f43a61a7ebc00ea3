"""The gates on a whole stack: a question, an edited plan, a deadline; each wait holds no worker."""

import json
from typing import Any

from resources.database import Database
from sisu_pipeline.console.api_client import Api
from tests.e2e.conftest import Sisu, until

_RUN = {"recipeName": "sandbox-default", "queuePartitionKey": "gates"}
FORM = {"type": "object", "properties": {"environment": {"enum": ["staging", "production"]}}}


def start(api: Api, goal: str, constraints: dict[str, Any], tests: list[str]) -> str:
    """The run id of a new intent."""
    intent = {"goal": goal, "inputs": {"tests": tests}, "constraints": constraints}
    kept = api.post("intents", body=json.dumps(intent).encode())
    run: str = api.post("intents", kept["intentId"], "run", body=json.dumps(_RUN).encode())["runId"]
    return run


def status(api: Api, run: str) -> tuple[str, str | None]:
    """A run's status and what it asks for."""
    view = api.get("runs", run)
    return view["status"], view.get("nextAction")


def test_a_question_then_an_edited_plan_then_the_end(api: Api, sisu: Sisu, stack_database: Database) -> None:
    run = start(api, "Ask, then edit", {"askUser": {"question": "Where to?", "form": FORM}}, ["t1", "t2"])
    until(lambda: status(api, run) == ("waiting_input", "ANSWER"), "it waits for an answer")
    answered = sisu("gate", "answer", run, '{"environment": "staging"}', "--by", "ann", "--json")
    assert answered.status == 0, answered.stdout
    until(lambda: status(api, run) == ("waiting_input", "APPROVE_PLAN"), "it waits for an approval")
    view = api.get("runs", run, "plan")
    plan = {name: value for name, value in view["plan"].items() if value is not None} | {"tests": ["t3"]}
    body = {"approvedBy": "ann", "planSha256": view["planSha256"], "plan": plan}
    api.post("runs", run, "approve-plan", body=json.dumps(body).encode())
    until(lambda: status(api, run)[0] == "succeeded", "it succeeds")
    with stack_database.connect() as connection:
        tasks = connection.execute("SELECT request ->> 'cmd' AS cmd FROM app.sbx_runs WHERE run_id = %s", [run])
        assert [row["cmd"].rpartition(" ")[2] for row in tasks] == ["t3"]
        segments = connection.execute("SELECT segment FROM app.runs WHERE id = %s", [run]).fetchone()
    # One segment to the question, one to the plan, one to the end.
    assert segments == {"segment": 3}
    assert sisu("oracle").status == 0


def test_a_deadline_that_passes_ends_the_run_by_itself(api: Api, sisu: Sisu) -> None:
    run = start(api, "Nobody is there", {"planApprovalTimeoutS": 1}, ["t1"])
    until(lambda: status(api, run)[0] == "retries_exceeded", "its deadline ends it")
    view = api.get("runs", run)
    assert "rationale: timeout" in view["error"]
    assert view["decision"]["decidedBy"] == "sisu:deadline"
    assert sisu("oracle").status == 0
