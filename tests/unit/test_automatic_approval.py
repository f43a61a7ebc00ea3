"""A policy approves a plan itself only when every condition of its rule holds."""

from typing import Any

import pytest

from sisu_pipeline.contracts.approval_policy import AutomaticApproval
from sisu_pipeline.contracts.planned_work import PinnedVersion, TemplateReference
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.approval.automatic import is_low_risk
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.complete_plan import PlanTerms, TaskTerms, seal

RULE = AutomaticApproval(paths=["docs/*"], commands=["pytest"], max_bytes=10, max_tasks=2)
FILES = {"docs/a.md": FileState(b"old\n")}
PINNED = PinnedVersion(id="p", version=1, sha256="0" * 64)


def a_plan(**changes: Any) -> Plan:
    content = {
        "goal": "g",
        "design": ["d"],
        "files": ["docs/a.md"],
        "risks": [],
        "tests": ["a"],
        "testCommand": "pytest",
        "patchPlan": [{"targetPath": "docs/a.md", "postimageContent": "new\n", "diffText": "-"}],
    }
    return Plan.from_json(content | changes)


def covers(plan: Plan, net: bool = False) -> bool:
    terms = TaskTerms("mock", "local", TemplateReference(id=None, key="k"), net, 1000)
    return is_low_risk(RULE, plan, seal(plan, FILES, PlanTerms(terms, PINNED, PINNED)).read())


def test_a_plan_that_meets_every_condition_is_approved() -> None:
    assert covers(a_plan())


@pytest.mark.parametrize(
    "changes",
    [
        {"tests": []},
        {"tests": ["a", "b", "c"]},
        {"tests": ["a; curl x"]},
        {"testCommand": "pytest; curl x"},
        {"patchPlan": [{"targetPath": "src/a.py", "postimageContent": "x", "diffText": "-"}]},
        {"patchPlan": [{"targetPath": "docs/a.md", "postimageContent": "eleven byte", "diffText": "-"}]},
        {"patchPlan": [{"targetPath": "docs/a.md", "contentBase64": "AAECAwQFBgcICQo="}]},
        {"patchPlan": [{"targetPath": "docs/a.md", "op": "delete"}]},
        {"patchPlan": [{"targetPath": "docs/b.md", "op": "rename", "fromPath": "docs/a.md"}]},
        {"patchPlan": [{"targetPath": "docs/a.md", "op": "modify", "mode": "100755"}]},
        {"patchPlan": [{"targetPath": "docs/b.md", "postimageContent": "", "mode": "100755"}]},
        {"ask": {"question": "Really?", "form": {"type": "object"}}},
    ],
    ids=[
        "no test",
        "tasks",
        "test name",
        "command",
        "path",
        "size",
        "binary size",
        "delete",
        "rename",
        "mode",
        "executable",
        "question",
    ],
)
def test_each_condition_alone_sends_the_plan_to_a_person(changes: dict[str, Any]) -> None:
    assert not covers(a_plan(**changes))


def test_a_task_with_network_sends_the_plan_to_a_person() -> None:
    assert not covers(a_plan(), net=True)
