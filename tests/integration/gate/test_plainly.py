"""The usual decision is one statement: it writes what a weighed one writes, and leaves everything else to it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from resources.database import Connection
from sisu_pipeline.api.routes.decision_batches import record_together
from sisu_pipeline.contracts.gate import Decision, PlanApprovalRequest, PlanRejectionRequest
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.store import gates
from sisu_pipeline.store.gates import Decided, Word
from sisu_pipeline.workflow import commands
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import Recipe
from tests.integration.gate.world import Waiting

Contents = Callable[[], dict[str, str]]
APPROVE = PlanApprovalRequest(approved_by="ann", notes="fine")
REJECT = PlanRejectionRequest(rejected_by="ann", reason="too risky")


def word_about(run: Waiting, request: PlanApprovalRequest | PlanRejectionRequest = APPROVE) -> Word:
    word = commands.plain_word(run.run_id, request)
    assert word is not None
    return word


def plainly(run: Waiting, request: PlanApprovalRequest | PlanRejectionRequest = APPROVE) -> Decided | None:
    word = word_about(run, request)
    with run.dependencies.database.connect(autocommit=True) as connection:
        return gates.decide_plainly(connection, [word]).get(word)


def weighed(run: Waiting, request: PlanApprovalRequest | PlanRejectionRequest = APPROVE) -> Decided:
    with run.dependencies.database.connect() as connection:
        return commands.decide(connection, run.run_id, request)


def written(run: Waiting) -> list[dict[str, Any]]:
    """What a decision writes, without what differs between two runs and two moments."""
    own = {"run_id", "gate_key", "decided_at", "created_at"}
    rows = run.rows("plan_approvals") + run.rows("human_interactions")
    return [{name: value for name, value in row.items() if name not in own} for row in rows]


@pytest.mark.parametrize("request_", [APPROVE, REJECT])
@pytest.mark.parametrize("key", [None, "once"])
@pytest.mark.parametrize("is_bound", [False, True])
def test_it_writes_and_returns_what_a_weighed_decision_does(
    api: Api, request_: PlanApprovalRequest | PlanRejectionRequest, key: str | None, is_bound: bool
) -> None:
    runs = [Waiting(api.dependencies), Waiting(api.dependencies)]
    decided = []
    for run, decide in zip(runs, (plainly, weighed), strict=True):
        seen = run.plan_hash(api.client) if is_bound else None
        one = decide(run, request_.model_copy(update={"dedupe_key": key, "plan_sha256": seen}))
        assert one is not None
        assert one.plan_sha256 == seen
        decided.append((one.decision, one.decided_by, one.notes, one.is_final))
    assert decided[0] == decided[1]
    first, second = ([_without_hashes(row) for row in written(run)] for run in runs)
    assert first == second


def test_by_its_workflow_id_it_is_the_same_run(api: Api) -> None:
    run = Waiting(api.dependencies)
    assert commands.plain_word(run.id, APPROVE) == commands.plain_word(run.run_id, APPROVE)


def test_many_are_recorded_in_one_statement_each_as_it_was_said(api: Api) -> None:
    runs = [Waiting(api.dependencies) for _ in range(6)]
    late = runs.pop()
    late.overdue()
    said = [REJECT if number % 2 else APPROVE for number in range(len(runs))]
    words = [word_about(run, request) for run, request in zip(runs, said, strict=True)]
    others = [word_about(late), dataclasses.replace(words[0], run_id=f"run_{'0' * 32}")]
    with api.dependencies.database.connect(autocommit=True) as connection:
        decided = gates.decide_plainly(connection, [*words, *others])
    assert {word: one.decision for word, one in decided.items()} == {word: word.decision for word in words}
    for run, word in zip(runs, words, strict=True):
        (approval,), (entry,) = run.rows("plan_approvals"), run.rows("human_interactions")
        assert (approval["decision"], approval["notes"]) == (word.decision, word.notes)
        assert (entry["payload"]["decision"], entry["payload"]["notes"]) == (word.decision, word.notes)


def test_of_two_about_one_run_the_first_is_recorded_and_the_other_left_alone(api: Api) -> None:
    run = Waiting(api.dependencies)
    first, second = word_about(run, REJECT), word_about(run, APPROVE)
    with api.dependencies.database.connect(autocommit=True) as connection:
        decided = gates.decide_plainly(connection, [first, second])
    assert set(decided) == {first}
    assert [row["decision"] for row in run.rows("plan_approvals")] == ["rejected"]
    assert [row["kind"] for row in run.rows("human_interactions")] == ["reject"]


def test_what_the_database_refuses_of_one_is_not_the_others_failure(api: Api) -> None:
    run = Waiting(api.dependencies)
    fine, unkept = word_about(run), dataclasses.replace(word_about(Waiting(api.dependencies)), notes="\0")
    assert record_together(api.rooms.pool, [unkept, fine]) == [None, None]
    assert run.rows("plan_approvals") == []
    (decided,) = record_together(api.rooms.pool, [fine])
    assert decided is not None


def _early(api: Api) -> Waiting:
    return Waiting(api.dependencies, start=False)


def _overdue(api: Api) -> Waiting:
    run = Waiting(api.dependencies)
    run.overdue()
    return run


def _canceled(api: Api) -> Waiting:
    run = Waiting(api.dependencies)
    api.post(f"/runs/{run.run_id}/cancel", {"actor": "ann"})
    return run


def _edited(api: Api) -> Waiting:
    """A plan that somebody changed without deciding: as of a quorum whose recipe was relaxed afterwards."""
    run = Waiting(api.dependencies)
    with api.dependencies.database.connect() as connection:
        connection.execute(
            "INSERT INTO app.plan_versions (run_id, version, plan, plan_sha256, based_on_sha256, edited_by)"
            " SELECT run_id, 2, output, repeat('a', 64), repeat('b', 64), 'eve' FROM app.run_steps"
            " WHERE run_id = %s AND step_id = 'CompileST'",
            [run.run_id],
        )
    return run


@pytest.mark.parametrize("situation", [_early, _overdue, _canceled, _edited])
@pytest.mark.parametrize("request_", [APPROVE, REJECT])
def test_what_has_to_be_weighed_is_left_alone(
    api: Api,
    contents: Contents,
    situation: Callable[[Api], Waiting],
    request_: PlanApprovalRequest | PlanRejectionRequest,
) -> None:
    run = situation(api)
    before = contents()
    assert plainly(run, request_) is None
    assert contents() == before


@pytest.mark.parametrize("seen", [None, "own"])
@pytest.mark.parametrize("request_", [APPROVE, REJECT, APPROVE.model_copy(update={"approved_by": "bob"})])
def test_where_somebody_has_decided_it_is_their_decision(
    api: Api, contents: Contents, seen: str | None, request_: PlanApprovalRequest | PlanRejectionRequest
) -> None:
    run = Waiting(api.dependencies)
    sha256 = seen and run.plan_hash(api.client)
    earlier = weighed(run, APPROVE.model_copy(update={"plan_sha256": sha256}))
    before = contents()
    assert plainly(run, request_.model_copy(update={"plan_sha256": sha256})) == earlier
    assert contents() == before


@pytest.mark.parametrize("claim", [{"dedupe_key": "mine"}, {"plan_sha256": "0" * 64}])
def test_a_repetition_that_claims_more_is_weighed(api: Api, contents: Contents, claim: dict[str, str]) -> None:
    run = Waiting(api.dependencies)
    weighed(run)
    before = contents()
    assert plainly(run, APPROVE.model_copy(update=claim)) is None
    assert contents() == before


@pytest.mark.parametrize(
    "rules",
    [
        {"required": 2},
        {"approvers": ["ann"]},
        {"self_approval": False},
    ],
)
def test_a_recipe_with_rules_is_always_weighed(
    api: Api, recipe: Recipe, contents: Contents, rules: dict[str, Any]
) -> None:
    run = Waiting(api.dependencies)
    recipe(**rules)
    before = contents()
    assert plainly(run) is None
    assert plainly(run, REJECT) is None
    assert contents() == before


def test_another_plan_than_the_gates_is_left_alone(api: Api, contents: Contents) -> None:
    run = Waiting(api.dependencies)
    before = contents()
    assert plainly(run, APPROVE.model_copy(update={"plan_sha256": "0" * 64})) is None
    assert contents() == before


def test_what_can_be_no_run_is_refused_before_it_is_a_word() -> None:
    with pytest.raises(NotFound):
        commands.plain_word("anything", APPROVE)


def _decide(connection: Connection, run: Waiting) -> None:
    gates.decide(connection, run.run_id, Decision.REJECTED, "bob", "no", None)


def _cancel(connection: Connection, run: Waiting) -> None:
    commands.cancel(connection, run.run_id, OperationRequest(actor="bob"))


@pytest.mark.parametrize("meanwhile", [_decide, _cancel])
def test_a_run_that_somebody_else_holds_now_is_left_alone_and_keeps_nobody_waiting(
    api: Api, meanwhile: Callable[[Connection, Waiting], None]
) -> None:
    held, free = Waiting(api.dependencies), Waiting(api.dependencies)
    words = [word_about(run) for run in (held, free)]
    with api.dependencies.database.connect() as holder:
        meanwhile(holder, held)
        with api.dependencies.database.connect(autocommit=True) as connection:
            assert set(gates.decide_plainly(connection, words)) == {words[1]}
    assert [row["decided_by"] for row in held.rows("plan_approvals")] in ([], ["bob"])
    assert [row["actor"] for row in held.rows("human_interactions")] in ([], ["bob"])


def _without_hashes(row: dict[str, Any]) -> dict[str, Any]:
    """Two runs have two plans: their hashes, and the keys and payloads made of them, differ."""
    plain = {name: value for name, value in row.items() if name not in ("plan_sha256", "payload_hash")}
    if "payload" in plain:
        plain["payload"] = {**plain["payload"], "planSha256": plain["payload"]["planSha256"] is not None}
    if plain.get("dedupe_key") != "once":
        plain.pop("dedupe_key", None)
    return plain
