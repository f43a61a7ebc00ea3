"""The usual decision is one statement: it writes what a weighed one writes, and leaves everything else to it."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from resources.database import Connection
from sisu_pipeline import commands
from sisu_pipeline.contracts.gate import Decision, PlanApprovalRequest, PlanRejectionRequest
from sisu_pipeline.contracts.operation import OperationRequest
from sisu_pipeline.store import gates
from sisu_pipeline.store.errors import NotFound
from sisu_pipeline.store.gates import Decided
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import Recipe
from tests.integration.gate.world import Waiting

Contents = Callable[[], dict[str, str]]
Until = Callable[[Callable[[], bool]], None]
APPROVE = PlanApprovalRequest(approved_by="ann", notes="fine")
REJECT = PlanRejectionRequest(rejected_by="ann", reason="too risky")


def plainly(run: Waiting, request: PlanApprovalRequest | PlanRejectionRequest = APPROVE) -> Decided | None:
    with run.services.database.connect(autocommit=True) as connection:
        return commands.decide_plainly(connection, run.run_id, request)


def weighed(run: Waiting, request: PlanApprovalRequest | PlanRejectionRequest = APPROVE) -> Decided:
    with run.services.database.connect() as connection:
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
    runs = [Waiting(api.services), Waiting(api.services)]
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
    run = Waiting(api.services)
    with api.services.database.connect(autocommit=True) as connection:
        decided = commands.decide_plainly(connection, run.id, APPROVE)
    assert decided is not None
    assert decided.run_id == run.run_id


def _early(api: Api) -> Waiting:
    return Waiting(api.services, start=False)


def _overdue(api: Api) -> Waiting:
    run = Waiting(api.services)
    run.overdue()
    return run


def _decided(api: Api) -> Waiting:
    run = Waiting(api.services)
    weighed(run)
    return run


def _canceled(api: Api) -> Waiting:
    run = Waiting(api.services)
    api.post(f"/runs/{run.run_id}/cancel", {"actor": "ann"})
    return run


def _edited(api: Api) -> Waiting:
    """A plan that somebody changed without deciding: as of a quorum whose recipe was relaxed afterwards."""
    run = Waiting(api.services)
    with api.services.database.connect() as connection:
        connection.execute(
            "INSERT INTO app.plan_versions (run_id, version, plan, plan_sha256, based_on_sha256, edited_by)"
            " SELECT run_id, 2, output, repeat('a', 64), repeat('b', 64), 'eve' FROM app.run_steps"
            " WHERE run_id = %s AND step_id = 'CompileST'",
            [run.run_id],
        )
    return run


@pytest.mark.parametrize("situation", [_early, _overdue, _decided, _canceled, _edited])
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
    run = Waiting(api.services)
    recipe(**rules)
    before = contents()
    assert plainly(run) is None
    assert plainly(run, REJECT) is None
    assert contents() == before


def test_another_plan_than_the_gates_is_left_alone(api: Api, contents: Contents) -> None:
    run = Waiting(api.services)
    before = contents()
    assert plainly(run, APPROVE.model_copy(update={"plan_sha256": "0" * 64})) is None
    assert contents() == before


def test_a_run_nobody_knows_is_no_run(api: Api) -> None:
    with api.services.database.connect(autocommit=True) as connection:
        assert commands.decide_plainly(connection, f"run_{'0' * 32}", APPROVE) is None
        with pytest.raises(NotFound):
            commands.decide_plainly(connection, "anything", APPROVE)


def _decide(connection: Connection, run: Waiting) -> None:
    gates.decide(connection, run.run_id, Decision.REJECTED, "bob", "no", None)


def _cancel(connection: Connection, run: Waiting) -> None:
    commands.cancel(connection, run.run_id, OperationRequest(actor="bob"))


@pytest.mark.parametrize("meanwhile", [_decide, _cancel])
def test_whoever_waited_for_the_run_sees_what_happened_to_it_meanwhile(
    api: Api, until: Until, meanwhile: Callable[[Connection, Waiting], None]
) -> None:
    run = Waiting(api.services)
    results: list[Decided | None] = []
    waiter = threading.Thread(target=lambda: results.append(plainly(run)))
    with api.services.database.connect() as holder:
        meanwhile(holder, run)
        waiter.start()
        until(lambda: _is_blocked_by(api, holder))
    waiter.join(20)
    assert results == [None]
    assert [row["decided_by"] for row in run.rows("plan_approvals")] in ([], ["bob"])
    assert [row["actor"] for row in run.rows("human_interactions")] in ([], ["bob"])


def _is_blocked_by(api: Api, holder: Connection) -> bool:
    with api.services.database.connect() as connection:
        row = connection.execute(
            "SELECT count(*) AS n FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))",
            [holder.info.backend_pid],
        ).fetchone()
    return row == {"n": 1}


def _without_hashes(row: dict[str, Any]) -> dict[str, Any]:
    """Two runs have two plans: their hashes, and the keys and payloads made of them, differ."""
    plain = {name: value for name, value in row.items() if name not in ("plan_sha256", "payload_hash")}
    if "payload" in plain:
        plain["payload"] = {**plain["payload"], "planSha256": plain["payload"]["planSha256"] is not None}
    if plain.get("dedupe_key") != "once":
        plain.pop("dedupe_key", None)
    return plain
