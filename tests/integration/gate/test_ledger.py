"""The ledger: each interaction at a gate is stored once and never changed; a dedupe key means one request."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from sisu_pipeline.domain.canonical import sha256_json
from tests.integration.api.conftest import Api
from tests.integration.gate.world import Waiting

Contents = Callable[[], dict[str, str]]


def approve(api: Api, run: Waiting, **body: object) -> httpx.Response:
    return api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "ann", **body})


def test_a_decision_is_recorded_with_its_author_content_and_plan(api: Api) -> None:
    run = Waiting(api.dependencies)
    approve(api, run, notes="fine", dedupeKey="k-1")
    (recorded,) = api.get(f"/runs/{run.run_id}/interactions").json()["interactions"]
    payload = {"decision": "approved", "notes": "fine", "planSha256": None}
    assert {**recorded, "createdAt": None} == {
        "gateKey": run.gate,
        "dedupeKey": "k-1",
        "kind": "approve",
        "actor": "ann",
        "planSha256": run.plan_hash(api.client),
        "payload": payload,
        "payloadHash": sha256_json(payload),
        "channel": "api",
        "createdAt": None,
    }


def test_the_same_key_and_payload_again_is_a_replay_and_stores_nothing(api: Api, contents: Contents) -> None:
    run = Waiting(api.dependencies)
    first = approve(api, run, dedupeKey="k")
    before = contents()
    assert approve(api, run, dedupeKey="k").content == first.content
    assert contents() == before


def test_the_same_key_with_another_payload_is_a_409_and_stores_nothing(api: Api, contents: Contents) -> None:
    run = Waiting(api.dependencies)
    approve(api, run, dedupeKey="k")
    before = contents()
    other = approve(api, run, dedupeKey="k", notes="changed my words")
    turned = api.post(f"/runs/{run.run_id}/reject-plan", {"rejectedBy": "ann", "reason": "no", "dedupeKey": "k"})
    for answer in (other, turned):
        assert (answer.status_code, answer.json()["code"]) == (409, "dedupe_conflict")
    assert contents() == before


def test_a_dedupe_key_is_unique_within_its_gate_only(api: Api) -> None:
    # The TypeScript original forgot the gate, and lost the second gate's message.
    run = Waiting(api.dependencies, constraints={"askUser": True})
    ask = run.rows("human_gates")[0]["gate_key"]
    body = {"answeredBy": "ann", "answer": {"answer": "42"}, "dedupeKey": "k"}
    assert api.post(f"/runs/{run.run_id}/gates/{ask}/answer", body).status_code == 202
    run.segment()
    assert approve(api, run, dedupeKey="k").status_code == 202
    assert len(run.rows("human_interactions")) == 2


def test_the_ledger_is_the_same_by_run_id_and_by_intent_id(api: Api) -> None:
    # The TypeScript original kept a row under the run id, then failed.
    run = Waiting(api.dependencies)
    first = approve(api, run, dedupeKey="k")
    again = api.post(f"/runs/{run.id}/approve-plan", {"approvedBy": "ann", "dedupeKey": "k"})
    assert again.content == first.content
    assert len(run.rows("human_interactions")) == 1


def test_a_decision_inserted_by_hand_continues_the_run(api: Api) -> None:
    # The TypeScript original waited for the deadline.
    run = Waiting(api.dependencies)
    with api.dependencies.database.connect() as connection:
        connection.execute(
            "INSERT INTO app.plan_approvals (run_id, decision, decided_by) VALUES (%s, 'approved', 'sql')",
            [run.run_id],
        )
    assert run.segment().status == "succeeded"


@pytest.mark.parametrize("statement", ["UPDATE app.{} SET run_id = run_id", "DELETE FROM app.{}"])
@pytest.mark.parametrize("table", ["human_interactions", "plan_versions"])
def test_an_entry_of_the_ledger_is_never_changed(api: Api, statement: str, table: str) -> None:
    run = Waiting(api.dependencies)
    view = api.get(f"/runs/{run.run_id}/plan").json()
    plan = {name: value for name, value in view["plan"].items() if value is not None} | {"tests": ["other"]}
    assert approve(api, run, planSha256=view["planSha256"], plan=plan).status_code == 202
    with api.dependencies.database.connect() as connection, pytest.raises(psycopg.errors.RestrictViolation):
        connection.execute(statement.format(table))


@pytest.mark.parametrize("key", ["", "k" * 257, 1, [], {}])
def test_a_key_out_of_bounds_is_a_400(api: Api, key: object) -> None:
    run = Waiting(api.dependencies)
    assert approve(api, run, dedupeKey=key).status_code == 400


def test_of_many_equal_requests_under_one_key_at_once_one_is_stored(api: Api) -> None:
    run = Waiting(api.dependencies)
    barrier = threading.Barrier(8)

    def say(_: int) -> httpx.Response:
        barrier.wait()
        return approve(api, run, dedupeKey="k")

    with ThreadPoolExecutor(8) as threads:
        answers = {answer.content for answer in threads.map(say, range(8))}
    assert len(answers) == 1
    assert len(run.rows("human_interactions")) == 1


def test_a_decision_that_comes_second_stores_nothing(api: Api, contents: Contents) -> None:
    run = Waiting(api.dependencies)
    approve(api, run)
    before = contents()
    assert api.post(f"/runs/{run.run_id}/reject-plan", {"rejectedBy": "eve", "reason": "no"}).status_code == 409
    assert contents() == before
