"""The ask gate: a question after CompileST, a typed form, an answer that is checked and used."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from resources.planner.planner_port import Question
from resources.planner.replay_planner import ReplayPlanner
from sisu_pipeline import oracle
from sisu_pipeline.contracts.step_outputs import PlannerOutput
from sisu_pipeline.domain import forms
from sisu_pipeline.domain.forms import MAX_BYTES
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.workflow import escalation
from tests.integration.api.conftest import Api
from tests.integration.gate.world import Waiting
from tests.integration.life import FILES

Contents = Callable[[], dict[str, str]]
FORM = {
    "type": "object",
    "properties": {
        "environment": {"enum": ["staging", "production"]},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["environment"],
    "additionalProperties": False,
}
ASK = {"askUser": {"question": "Where to?", "form": FORM}}
FITS = {"environment": "staging", "replicas": 2}


def gate_of(run: Waiting) -> str:
    key: str = run.rows("human_gates")[0]["gate_key"]
    return key


def answer(api: Api, run: Waiting, content: object, by: str = "ann") -> httpx.Response:
    body = {"answeredBy": by, "answer": content}
    return api.post(f"/runs/{run.run_id}/gates/{gate_of(run)}/answer", body)


def test_the_run_waits_for_the_answer_before_it_touches_a_file(api: Api) -> None:
    run = Waiting(api.dependencies, constraints=ASK)
    assert (run.run.status, run.run.next_action) == (RunStatus.WAITING_INPUT, "ANSWER")
    assert run.files() == {}
    (gate,) = api.get("/inbox").json()["gates"]
    assert gate["purpose"] == "ask-user"
    assert gate["form"] == {"question": "Where to?", "schema": FORM, "fields": ["environment", "replicas"]}
    assert answer(api, run, FITS).status_code == 202
    assert run.segment().next_action == "APPROVE_PLAN"
    assert run.files() != FILES


def test_the_answer_is_input_to_the_steps_behind_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Question] = []

    def listen(question: Question) -> PlannerOutput | None:
        asked.append(question)
        return None

    monkeypatch.setattr(ReplayPlanner, "recorded", lambda self, question: listen(question))
    run = Waiting(api.dependencies, constraints=ASK)
    answer(api, run, FITS)
    run.segment()
    steps = {row["step_id"]: row["output"] for row in run.rows("run_steps")}
    assert steps["ApplyPatchST"]["answer"] == FITS
    api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "ann"})
    assert run.segment().status is RunStatus.SUCCEEDED
    # A build that was recorded for this answer would have to agree with the approved plan.
    assert asked[-1].agent == "build"
    assert 'Answer: {"environment":"staging","replicas":2}' in asked[-1].prompt


def test_the_oracle_is_clean_while_it_waits_and_after(api: Api) -> None:
    run = Waiting(api.dependencies, constraints=ASK)
    with api.dependencies.database.connect() as connection:
        assert [verdict.law for verdict in oracle.judge(connection) if not verdict.holds] == []
    answer(api, run, FITS)
    run.segment()
    with api.dependencies.database.connect() as connection:
        assert [verdict.law for verdict in oracle.judge(connection) if not verdict.holds] == []


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        ({}, "/answer"),
        ({"environment": "moon"}, "/answer/environment"),
        ({"environment": "staging", "replicas": 0}, "/answer/replicas"),
        ({"environment": "staging", "replicas": True}, "/answer/replicas"),
        ({"environment": "staging", "extra": 1}, "/answer"),
    ],
)
def test_an_answer_that_does_not_fit_the_form_is_a_400_with_its_place_and_stores_nothing(
    api: Api, contents: Contents, content: dict[str, Any], pointer: str
) -> None:
    run = Waiting(api.dependencies, constraints=ASK)
    before = contents()
    refused = answer(api, run, content)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_answer")
    assert refused.json()["details"][0]["pointer"] == pointer
    assert contents() == before


@pytest.mark.parametrize(
    ("properties", "content", "pointer"),
    [
        ({"amount": {"type": "number", "multipleOf": 0.01}}, {"amount": 19.99}, None),
        ({"amount": {"type": "number", "multipleOf": 0.01}}, {"amount": 19.995}, "/answer/amount"),
        ({"a/b": {"type": "string"}}, {"a/b": 1}, "/answer/a~1b"),
        ({"c~d": {"type": "string"}}, {"c~d": 1}, "/answer/c~0d"),
        ({"format": {"type": "string"}, "pattern": {"const": 1}}, {"format": "x", "pattern": 1}, None),
        ({}, {"text": "x" * 65_600}, "/answer"),
        (
            {"x": {"items": {"type": "array", "uniqueItems": True, "maxItems": 100}}},
            {"x": [[{"a": number} for number in range(100)]] * 60},
            "/answer",
        ),
    ],
)
def test_decimals_are_exact_names_are_escaped_and_work_is_bounded(
    api: Api, properties: dict[str, Any], content: dict[str, Any], pointer: str | None
) -> None:
    form = {"type": "object", "properties": properties}
    run = Waiting(api.dependencies, constraints={"askUser": {"question": "How much?", "form": form}})
    began = time.monotonic()
    answered = answer(api, run, content)
    assert time.monotonic() - began < 5
    found = None if answered.status_code == 202 else answered.json()["details"][0]["pointer"]
    assert found == pointer, answered.text


def test_an_answer_is_checked_before_the_run_is_locked(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Waiting(api.dependencies, constraints=ASK)
    checking, canceled = threading.Event(), threading.Event()
    real = forms.faults

    def slow(schema: dict[str, Any], content: Any) -> list[forms.Fault]:
        checking.set()
        assert canceled.wait(20)
        return real(schema, content)

    monkeypatch.setattr(forms, "faults", slow)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(answer, api, run, FITS)
        assert checking.wait(20)
        assert api.post(f"/runs/{run.run_id}/cancel", {}).status_code == 202
        canceled.set()
        assert late.result().status_code == 409
    assert run.run.status is RunStatus.CANCELED


def test_the_first_answer_is_final_and_the_same_again_is_a_replay(api: Api) -> None:
    run = Waiting(api.dependencies, constraints=ASK)
    first = answer(api, run, FITS)
    assert answer(api, run, FITS, by="bob").content == first.content
    other = answer(api, run, {"environment": "production"})
    assert (other.status_code, other.json()["code"]) == (409, "decision_conflict")
    assert "already answered by ann" in other.json()["error"]


def test_an_approval_of_the_plan_does_not_answer_the_question(api: Api) -> None:
    # The TypeScript original delivered it to the ask gate.
    run = Waiting(api.dependencies, constraints=ASK)
    assert api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "ann"}).status_code == 202
    assert run.segment().next_action == "ANSWER"
    answer(api, run, FITS)
    assert run.segment().status is RunStatus.SUCCEEDED


def test_an_unanswered_question_ends_the_run_at_its_deadline(api: Api) -> None:
    run = Waiting(api.dependencies, constraints=ASK)
    run.overdue()
    late = answer(api, run, FITS)
    assert late.status_code == 409
    assert escalation.enforce(api.dependencies) == [(run.run_id, gate_of(run))]
    assert run.segment().status is RunStatus.RETRIES_EXCEEDED
    assert run.run.error == "Ask-user gate timed out"
    (gate,) = api.get(f"/runs/{run.run_id}/gates").json()["gates"]
    assert gate["state"] == "timed_out"


def test_the_flag_of_the_original_opens_a_question_with_one_text_field(api: Api) -> None:
    run = Waiting(api.dependencies, constraints={"testHooks": {"askUser": True}})
    assert answer(api, run, {"answer": ""}).status_code == 400
    assert answer(api, run, {"answer": "42"}).status_code == 202


def test_a_plan_can_open_a_question_without_a_constraint(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = api.dependencies.planner.answer

    def curious(question: Question) -> PlannerOutput:
        output = answers(question)
        if question.agent == "build":
            return output
        return output.model_copy(
            update={"structured": {**(output.structured or {}), "ask": {"question": "Where to?", "form": FORM}}}
        )

    monkeypatch.setattr(api.dependencies.planner, "answer", curious)
    run = Waiting(api.dependencies)
    assert run.run.next_action == "ANSWER"
    answer(api, run, FITS)
    run.segment()
    api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "ann", "planSha256": run.plan_hash(api.client)})
    assert run.segment().status is RunStatus.SUCCEEDED


@pytest.mark.parametrize(
    "ask",
    [
        "yes",
        1,
        {"question": "?"},
        {"question": "", "form": FORM},
        {"question": "?", "form": {"type": "string"}},
        {"question": "?", "form": {"type": "object", "properties": {"a": {"type": "no such type"}}}},
        {"question": "?", "form": {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1/x"}}}},
        {"question": "?", "form": {"type": "object", "properties": {"a": {"pattern": "(a+)+$"}}}},
        {"question": "?", "form": {"type": "object", "allOf": [{"patternProperties": {"(a+)+$": {}}}]}},
        {"question": "?", "form": {"type": "object", "title": "x" * MAX_BYTES}},
    ],
)
def test_an_unsafe_form_is_refused_when_the_intent_is_submitted(api: Api, contents: Contents, ask: object) -> None:
    before = contents()
    refused = api.post("/intents", {"goal": "g", "inputs": {}, "constraints": {"askUser": ask}})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_constraint")
    assert contents() == before


def test_a_property_may_have_the_name_of_a_keyword(api: Api) -> None:
    form = {"type": "object", "properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}}}
    ask = {"askUser": {"question": "?", "form": form}}
    assert api.post("/intents", {"goal": "g", "inputs": {}, "constraints": ask}).status_code == 201


def test_a_gate_that_was_never_opened_is_not_found(api: Api) -> None:
    run = Waiting(api.dependencies)
    for key in ("ask-user-0000000000000000", run.gate, "%00", "A"):
        body = {"answeredBy": "ann", "answer": {}}
        assert api.post(f"/runs/{run.run_id}/gates/{key}/answer", body).status_code == 404
