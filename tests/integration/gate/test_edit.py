"""Edit, then approve: the edited plan must fit the contract and the budget, is stored, and is executed."""

import copy
from typing import Any

import pytest

from sisu_pipeline import oracle
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.domain.canonical import sha256_hex, sha256_json
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import gates
from sisu_pipeline.workflow import run_failure, step_execution
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import Recipe
from tests.integration.gate.world import Waiting
from tests.integration.life import BUDGET, FILES

EDITED_PATCHES = [
    {"targetPath": "a.txt", "postimageContent": "edited\n", "diffText": "-before\n+edited\n"},
    {"targetPath": "other.txt", "postimageContent": "other\n", "diffText": "+other\n"},
]
AFTER_PATCHES = {"a.txt": "after\n", "keep.txt": "keep\n", "new/b.txt": "new\n"}
AFTER_EDIT = {"a.txt": "edited\n", "keep.txt": "keep\n", "other.txt": "other\n"}
OPERATIONS = [
    {"targetPath": "a.txt", "op": "delete"},
    {"targetPath": "a.txt/inner", "postimageContent": "tool\n", "mode": "100755"},
    {"targetPath": "kept/now.txt", "op": "rename", "fromPath": "keep.txt"},
]
AFTER_OPERATIONS = {"a.txt/inner": "tool\n", "kept/now.txt": "keep\n"}


def shown(api: Api, run: Waiting) -> dict[str, Any]:
    view: dict[str, Any] = api.get(f"/runs/{run.run_id}/plan").json()
    return view


def edited(view: dict[str, Any], **changes: Any) -> dict[str, Any]:
    plan = copy.deepcopy({name: value for name, value in view["plan"].items() if value is not None})
    return {**plan, **changes}


def approve(api: Api, run: Waiting, **body: Any) -> Any:
    return api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "ann", **body})


def test_the_edited_plan_is_executed_with_its_patches_byte_for_byte(api: Api) -> None:
    run = Waiting(api.dependencies, tests=["t1", "t2"])
    assert run.files() == AFTER_PATCHES
    view = shown(api, run)
    plan = edited(view, tests=["t3"], patchPlan=EDITED_PATCHES)
    assert approve(api, run, planSha256=view["planSha256"], plan=plan).status_code == 202
    assert run.segment().status is RunStatus.SUCCEEDED
    assert run.files() == AFTER_EDIT
    task = run.rows("sbx_runs")[0]
    assert task["request"]["cmd"].endswith(" t3")
    assert len(run.rows("sbx_runs")) == 1
    assert [file["path"] for file in task["request"]["filesIn"]] == sorted(AFTER_EDIT)


def test_the_edited_plan_is_stored_with_the_hash_of_the_plan_it_was_made_of(api: Api) -> None:
    run = Waiting(api.dependencies)
    view = shown(api, run)
    plan = edited(view, tests=["t3"])
    approve(api, run, planSha256=view["planSha256"], plan=plan)
    after = shown(api, run)
    assert (after["version"], after["plan"]["tests"]) == (2, ["t3"])
    assert after["planSha256"] == sha256_json(after["complete"]["head"]) != view["planSha256"]
    assert [task["command"] for task in after["complete"]["tasks"]] == ["pnpm test t3"]
    assert after["complete"]["policy"] == view["complete"]["policy"]
    (version,) = after["versions"]
    assert (version["basedOnSha256"], version["editedBy"]) == (view["planSha256"], "ann")
    assert api.get(f"/runs/{run.run_id}").json()["decision"]["planSha256"] == after["planSha256"]
    assert run.rows("human_gates")[0]["plan_sha256"] == view["planSha256"]


def test_the_laws_hold_for_an_edited_plan(api: Api) -> None:
    run = Waiting(api.dependencies)
    view = shown(api, run)
    approve(api, run, planSha256=view["planSha256"], plan=edited(view, tests=["t3"], patchPlan=EDITED_PATCHES))
    run.segment()
    with api.dependencies.database.connect() as connection:
        broken = {verdict.law for verdict in oracle.judge(connection) if not verdict.holds}
    # This test answers tasks itself: the mock provider has no receipts of them.
    assert broken <= {"510_results_and_receipts_agree"}


def test_a_failure_after_the_edit_restores_every_byte(api: Api) -> None:
    run = Waiting(api.dependencies)
    view = shown(api, run)
    approve(api, run, planSha256=view["planSha256"], plan=edited(view, patchPlan=EDITED_PATCHES))
    decided = step_execution.decide_plan(api.dependencies, run.id)
    assert decided is not None
    step_execution.commit(api.dependencies, run.id, decided)
    assert run.files() == AFTER_EDIT
    run_failure.end_run(api.dependencies, run.run_id, RunStatus.RETRIES_EXCEEDED, "a task failed")
    assert run.files() == FILES


def test_a_plan_edited_to_delete_rename_and_create_is_executed_and_lawful(api: Api) -> None:
    run = Waiting(api.dependencies)
    view = shown(api, run)
    plan = edited(view, patchPlan=OPERATIONS)
    assert approve(api, run, planSha256=view["planSha256"], plan=plan).status_code == 202
    patches = shown(api, run)["plan"]["patchPlan"]
    assert [patch["oldSha256"] for patch in patches] == [sha256_hex("before\n"), None, sha256_hex("keep\n")]
    assert run.segment().status is RunStatus.SUCCEEDED
    assert run.files() == AFTER_OPERATIONS
    (task,) = run.rows("sbx_runs")
    assert task["request"]["filesIn"] == [
        {"path": "a.txt/inner", "sha256": sha256_hex("tool\n"), "mode": "100755"},
        {"path": "kept/now.txt", "sha256": sha256_hex("keep\n")},
    ]
    with api.dependencies.database.connect() as connection:
        broken = {verdict.law for verdict in oracle.judge(connection) if not verdict.holds}
    assert broken <= {"510_results_and_receipts_agree"}


@pytest.mark.parametrize("lost_after", [0, 1, 2])
def test_an_exchange_of_patches_interrupted_anywhere_is_completed_by_the_next_worker(
    api: Api, monkeypatch: pytest.MonkeyPatch, lost_after: int
) -> None:
    from sisu_pipeline.workflow import workspace

    run = Waiting(api.dependencies)
    view = shown(api, run)
    approve(api, run, planSha256=view["planSha256"], plan=edited(view, patchPlan=EDITED_PATCHES))
    write, remaining = workspace.Workspace.write, [lost_after]

    class Died(BaseException):
        """The worker is gone."""

    def dying(self: Any, *arguments: Any) -> None:
        if not remaining[0]:
            raise Died
        remaining[0] -= 1
        write(self, *arguments)

    monkeypatch.setattr(workspace.Workspace, "write", dying)
    with pytest.raises(Died):
        step_execution.decide_plan(api.dependencies, run.id)
    monkeypatch.undo()
    assert run.segment().status is RunStatus.SUCCEEDED
    assert run.files() == AFTER_EDIT


@pytest.mark.parametrize(
    ("changes", "status", "code", "says"),
    [
        ({"tests": "all"}, 400, "invalid_contract", "tests"),
        ({"unknown": 1}, 400, "invalid_contract", "unknown"),
        ({"tests": ["t"] * 10_001}, 400, "invalid_contract", "tests"),
        (
            {"testCommand": "ü" * 60_001, "tests": []},
            400,
            "invalid_change",
            "testCommand has 120,002 bytes; the command of a task has at most 120,000",
        ),
        ({"goal": "another"}, 409, "edit_refused", "submit another intent"),
        ({"tests": ["a", "b", "c"]}, 409, "edit_refused", "budget:maxFanout: observed 3 > limit 2"),
        (
            {"patchPlan": [{"targetPath": "../x", "postimageContent": "", "diffText": ""}]},
            400,
            "invalid_change",
            "../x",
        ),
        (
            {"patchPlan": [{"targetPath": "none", "op": "delete"}]},
            400,
            "invalid_change",
            "cannot delete 'none': the file does not exist",
        ),
        (
            {"patchPlan": [{"targetPath": "a.txt", "op": "delete", "postimageContent": ""}]},
            400,
            "invalid_contract",
            "the patch of 'a.txt' deletes the file; leave out the content and the mode",
        ),
        ({"ask": {"question": "?", "form": {"type": "object"}}}, 409, "edit_refused", "question"),
        (
            {"patchPlan": [{"targetPath": "a.txt", "postimageContent": "", "oldSha256": "0" * 64}]},
            409,
            "edit_refused",
            "a.txt has the sha256",
        ),
    ],
)
def test_an_edited_plan_out_of_contract_or_policy_records_no_decision(
    api: Api, contents: Any, changes: dict[str, Any], status: int, code: str, says: str
) -> None:
    run = Waiting(api.dependencies, request={"budget": BUDGET})
    view = shown(api, run)
    before = contents()
    answer = approve(api, run, planSha256=view["planSha256"], plan=edited(view, **changes))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert says in answer.json()["error"]
    assert contents() == before


def test_an_edited_plan_must_name_the_plan_it_was_made_of(api: Api) -> None:
    run = Waiting(api.dependencies)
    answer = approve(api, run, plan=edited(shown(api, run)))
    assert answer.status_code == 400
    assert "planSha256" in answer.json()["error"]


def test_a_plan_cannot_be_edited_before_its_gate_opens(api: Api) -> None:
    run = Waiting(api.dependencies)
    view = shown(api, run)
    fresh = Waiting(api.dependencies, start=False, tests=["other"])
    answer = approve(api, fresh, planSha256=view["planSha256"], plan=edited(view))
    assert (answer.status_code, answer.json()["code"]) == (409, "decision_conflict")


def test_an_edited_plan_without_changes_is_an_ordinary_approval(api: Api) -> None:
    run = Waiting(api.dependencies)
    view = shown(api, run)
    assert approve(api, run, planSha256=view["planSha256"], plan=edited(view)).status_code == 202
    assert shown(api, run)["version"] == 1
    assert run.segment().status is RunStatus.SUCCEEDED
    assert run.files() == AFTER_PATCHES


def test_a_plan_edited_meanwhile_cannot_be_approved_by_its_old_hash(api: Api, recipe: Recipe) -> None:
    recipe(required=2)
    run = Waiting(api.dependencies)
    view = shown(api, run)
    first = approve(api, run, planSha256=view["planSha256"], plan=edited(view, tests=["t3"]))
    assert first.json()["approvals"] == {"given": 1, "required": 2}
    stale = api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "bob", "planSha256": view["planSha256"]})
    assert (stale.status_code, stale.json()["code"]) == (409, "decision_conflict")
    assert "the plan has changed" in stale.json()["error"]
    now = run.plan_hash(api.client)
    fresh = api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "bob", "planSha256": now})
    assert "approvals" not in fresh.json()
    assert run.segment().status is RunStatus.SUCCEEDED


def test_a_replayed_edit_gets_the_first_answer_and_another_edit_is_a_conflict(api: Api) -> None:
    run = Waiting(api.dependencies)
    view = shown(api, run)
    body = {"planSha256": view["planSha256"], "plan": edited(view, tests=["t3"])}
    first, again = approve(api, run, **body), approve(api, run, **body)
    assert first.content == again.content
    other = approve(api, run, planSha256=view["planSha256"], plan=edited(view, tests=["t4"]))
    assert other.status_code == 409
    with api.dependencies.database.connect() as connection:
        decided = gates.decision(connection, run.run_id)
    assert decided is not None
    assert decided.decision is Decision.APPROVED
