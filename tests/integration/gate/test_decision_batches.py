"""A batch records simple decisions in one statement, exactly as they are recorded alone, and leaves all others."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from resources.database import Connection
from sisu_pipeline.api.routes.decision_batches import record_together
from sisu_pipeline.contracts.gate import Decision, PlanApprovalRequest, PlanRejectionRequest
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.store import gates, plans
from sisu_pipeline.store.rules.decisions import PlanDecision, RecordedDecision
from sisu_pipeline.workflow import commands
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import Recipe
from tests.integration.gate.world import Waiting

Contents = Callable[[], dict[str, str]]
APPROVE = PlanApprovalRequest(approved_by="ann", notes="fine")
REJECT = PlanRejectionRequest(rejected_by="ann", reason="too risky")


def decision_on(run: Waiting, request: PlanApprovalRequest | PlanRejectionRequest = APPROVE) -> PlanDecision:
    return commands.plan_decision(run.run_id, request)


def decide_in_batch(
    run: Waiting, request: PlanApprovalRequest | PlanRejectionRequest = APPROVE
) -> RecordedDecision | None:
    with run.dependencies.database.connect(autocommit=True) as connection:
        (recorded,) = gates.decide_batch(connection, [decision_on(run, request)])
    return recorded


def decide_alone(run: Waiting, request: PlanApprovalRequest | PlanRejectionRequest = APPROVE) -> RecordedDecision:
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
def test_a_batch_writes_and_returns_what_a_decision_alone_does(
    api: Api, request_: PlanApprovalRequest | PlanRejectionRequest, key: str | None, is_bound: bool
) -> None:
    runs = [Waiting(api.dependencies), Waiting(api.dependencies)]
    decided = []
    for run, decide in zip(runs, (decide_in_batch, decide_alone), strict=True):
        seen = run.plan_hash(api.client) if is_bound else None
        one = decide(run, request_.model_copy(update={"dedupe_key": key, "plan_sha256": seen}))
        assert one is not None
        assert one.plan_sha256 == run.plan_hash(api.client)
        decided.append((one.decision, one.decided_by, one.notes, one.is_final))
    assert decided[0] == decided[1]
    first, second = ([_without_hashes(row) for row in written(run)] for run in runs)
    assert first == second


def test_a_decision_names_the_same_run_by_its_run_id_and_by_its_intents(api: Api) -> None:
    run = Waiting(api.dependencies)
    assert commands.plan_decision(run.id, APPROVE) == commands.plan_decision(run.run_id, APPROVE)


def test_many_decisions_are_recorded_in_one_statement_each_with_its_own_content(api: Api) -> None:
    runs = [Waiting(api.dependencies) for _ in range(6)]
    late = runs.pop()
    late.overdue()
    requests = [REJECT if number % 2 else APPROVE for number in range(len(runs))]
    decisions = [decision_on(run, request) for run, request in zip(runs, requests, strict=True)]
    others = [decision_on(late), dataclasses.replace(decisions[0], run_id=f"run_{'0' * 32}")]
    with api.dependencies.database.connect(autocommit=True) as connection:
        recorded = gates.decide_batch(connection, [*decisions, *others])
    assert recorded[len(decisions) :] == [None, None]
    for run, wanted, stored in zip(runs, decisions, recorded, strict=False):
        assert stored is not None
        assert (stored.run_id, stored.decision, stored.notes) == (run.run_id, wanted.decision, wanted.notes)
        (approval,), (entry,) = run.rows("plan_approvals"), run.rows("human_interactions")
        assert (approval["decision"], approval["notes"]) == (wanted.decision, wanted.notes)
        assert (entry["payload"]["decision"], entry["payload"]["notes"]) == (wanted.decision, wanted.notes)


def test_of_two_decisions_on_one_run_the_first_is_recorded_and_the_other_is_left(api: Api) -> None:
    run = Waiting(api.dependencies)
    with api.dependencies.database.connect(autocommit=True) as connection:
        recorded = gates.decide_batch(connection, [decision_on(run, REJECT), decision_on(run, APPROVE)])
    assert [each and each.decision for each in recorded] == [Decision.REJECTED, None]
    assert [row["decision"] for row in run.rows("plan_approvals")] == ["rejected"]
    assert [row["kind"] for row in run.rows("human_interactions")] == ["reject"]


def test_of_two_equal_decisions_in_a_batch_each_gets_the_recorded_one(api: Api) -> None:
    run = Waiting(api.dependencies)
    with api.dependencies.database.connect(autocommit=True) as connection:
        first, second = gates.decide_batch(connection, [decision_on(run), decision_on(run)])
    assert first is not None
    assert first == second
    assert len(run.rows("human_interactions")) == 1


def test_a_decision_that_edits_the_plan_is_left(api: Api, contents: Contents) -> None:
    run = Waiting(api.dependencies)
    with api.dependencies.database.connect() as connection:
        plan = plans.current(connection, run.run_id).read()
    before = contents()
    edited = dataclasses.replace(decision_on(run), edited_plan=plan)
    with api.dependencies.database.connect(autocommit=True) as connection:
        assert gates.decide_batch(connection, [edited]) == [None]
    assert contents() == before


def test_a_decision_that_the_database_refuses_does_not_fail_the_others(api: Api) -> None:
    run = Waiting(api.dependencies)
    fine, refused = decision_on(run), dataclasses.replace(decision_on(Waiting(api.dependencies)), notes="\0")
    assert record_together(api.state.pool, [refused, fine]) == [None, None]
    assert run.rows("plan_approvals") == []
    (recorded,) = record_together(api.state.pool, [fine])
    assert recorded is not None


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
    """A plan that was edited without a decision: as by a quorum whose recipe was relaxed afterwards."""
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
def test_a_decision_too_early_or_too_late_or_on_an_edited_plan_is_left(
    api: Api,
    contents: Contents,
    situation: Callable[[Api], Waiting],
    request_: PlanApprovalRequest | PlanRejectionRequest,
) -> None:
    run = situation(api)
    before = contents()
    assert decide_in_batch(run, request_) is None
    assert contents() == before


@pytest.mark.parametrize("seen", [None, "own"])
@pytest.mark.parametrize("request_", [APPROVE, REJECT, APPROVE.model_copy(update={"approved_by": "bob"})])
def test_on_a_decided_run_the_earlier_decision_is_returned(
    api: Api, contents: Contents, seen: str | None, request_: PlanApprovalRequest | PlanRejectionRequest
) -> None:
    run = Waiting(api.dependencies)
    sha256 = seen and run.plan_hash(api.client)
    earlier = decide_alone(run, APPROVE.model_copy(update={"plan_sha256": sha256}))
    before = contents()
    assert decide_in_batch(run, request_.model_copy(update={"plan_sha256": sha256})) == earlier
    assert contents() == before


@pytest.mark.parametrize("claim", [{"dedupe_key": "mine"}, {"plan_sha256": "0" * 64}])
def test_a_repetition_with_a_dedupe_key_or_another_plan_is_left(
    api: Api, contents: Contents, claim: dict[str, str]
) -> None:
    run = Waiting(api.dependencies)
    decide_alone(run)
    before = contents()
    assert decide_in_batch(run, APPROVE.model_copy(update=claim)) is None
    assert contents() == before


@pytest.mark.parametrize(
    "rules",
    [
        {"required": 2},
        {"approvers": ["ann"]},
        {"self_approval": False},
    ],
)
def test_a_decision_under_a_recipe_with_rules_is_left(
    api: Api, recipe: Recipe, contents: Contents, rules: dict[str, Any]
) -> None:
    recipe(**rules)
    run = Waiting(api.dependencies)
    before = contents()
    assert decide_in_batch(run) is None
    assert decide_in_batch(run, REJECT) is None
    assert contents() == before


def test_a_decision_on_another_plan_than_the_gates_is_left(api: Api, contents: Contents) -> None:
    run = Waiting(api.dependencies)
    before = contents()
    assert decide_in_batch(run, APPROVE.model_copy(update={"plan_sha256": "0" * 64})) is None
    assert contents() == before


def test_a_reference_that_no_run_can_have_is_not_found() -> None:
    with pytest.raises(NotFound):
        commands.plan_decision("anything", APPROVE)


def _decide(connection: Connection, run: Waiting) -> None:
    gates.decide(connection, PlanDecision(run.run_id, Decision.REJECTED, "bob", "no"))


def _cancel(connection: Connection, run: Waiting) -> None:
    commands.cancel(connection, run.run_id, OperationRequest(actor="bob"))


@pytest.mark.parametrize("meanwhile", [_decide, _cancel])
def test_a_decision_on_a_locked_run_is_left_and_delays_no_other(
    api: Api, meanwhile: Callable[[Connection, Waiting], None]
) -> None:
    held, free = Waiting(api.dependencies), Waiting(api.dependencies)
    decisions = [decision_on(run) for run in (held, free)]
    with api.dependencies.database.connect() as holder:
        meanwhile(holder, held)
        with api.dependencies.database.connect(autocommit=True) as connection:
            recorded = gates.decide_batch(connection, decisions)
    assert [each and each.run_id for each in recorded] == [None, free.run_id]
    assert [row["decided_by"] for row in held.rows("plan_approvals")] in ([], ["bob"])
    assert [row["actor"] for row in held.rows("human_interactions")] in ([], ["bob"])


def _without_hashes(row: dict[str, Any]) -> dict[str, Any]:
    """Two runs have two plans: their hashes, and the keys and payloads made of them, differ."""
    plain = {name: value for name, value in row.items() if name not in ("plan_sha256", "payload_hash", "record")}
    if "payload" in plain:
        plain["payload"] = {**plain["payload"], "planSha256": plain["payload"]["planSha256"] is not None}
    if plain.get("dedupe_key") != "once":
        plain.pop("dedupe_key", None)
    return plain
