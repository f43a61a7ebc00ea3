"""The complete plan: its hash covers everything that is executed, and no content."""

import json
import shlex
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.contracts.planned_work import PinnedVersion, PlanPush, TemplateReference
from sisu_pipeline.contracts.sandbox_request import LONGEST_COMMAND
from sisu_pipeline.contracts.step_outputs import MAX_TESTS, Plan
from sisu_pipeline.domain.canonical import canonical_json, git_blob_id, sha256_hex, sha256_json
from sisu_pipeline.domain.changes.command_lines import command_error, command_line
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.complete_plan import (
    PlannedTasks,
    PlanTerms,
    SealedPlan,
    TaskTerms,
    changes,
    seal,
)
from sisu_pipeline.domain.errors import CommandTooLong

TASKS = TaskTerms("local", "local-node-24", TemplateReference(id=None, key="rcp:1:ff"), False, 300_000)
TERMS = PlanTerms(
    TASKS,
    PinnedVersion(id="rcp", version=1, sha256="a" * 64),
    PinnedVersion(id="rcp", version=1, sha256="b" * 64),
)
FILES = {"a.txt": FileState(b"before\n"), "b.txt": FileState(b"kept\n")}
BARE: dict[str, Any] = {
    "goal": "g",
    "design": [],
    "files": [],
    "risks": [],
    "tests": ["t"],
    "testCommand": "pytest",
}
PATCH = {"targetPath": "a.txt", "postimageContent": "after\n", "diffText": ""}


def a_plan(**changes: Any) -> Plan:
    return Plan.from_json({**BARE, "patchPlan": [PATCH], **changes})


def test_the_hash_is_of_a_head_of_section_hashes() -> None:
    sealed = seal(a_plan(), FILES, TERMS)
    head = {
        "v": 1,
        "changes": sha256_hex(sealed.changes),
        "tasks": sha256_hex(sealed.tasks),
        "recipe": sha256_json({"id": "rcp", "version": 1, "sha256": "a" * 64}),
        "policy": sha256_json({"id": "rcp", "version": 1, "sha256": "b" * 64}),
        "base": sha256_json(
            {
                "commit": None,
                "filesSha256": sha256_json({path: sha256_hex(state.content) for path, state in FILES.items()}),
            }
        ),
    }
    assert (sealed.head, sealed.sha256) == (canonical_json(head), sha256_json(head))


PUSHED = replace(TERMS, push=PlanPush(remote="https://example.org/a.git", branch="sisu/run_1"))


def test_a_push_is_a_section_of_its_own_and_other_plans_keep_their_head() -> None:
    plain, pushed = seal(a_plan(), FILES, TERMS), seal(a_plan(), FILES, PUSHED)
    section = sha256_json({"remote": "https://example.org/a.git", "branch": "sisu/run_1"})
    assert json.loads(pushed.head) == {**json.loads(plain.head), "push": section}
    assert pushed.sha256 == sha256_json(json.loads(pushed.head)) != plain.sha256
    assert pushed.read().push == PUSHED.push
    assert sha256_json(pushed.read().head.to_json()) == pushed.sha256
    assert "push" not in plain.read().to_json()
    assert sha256_json(plain.read().head.to_json()) == plain.sha256


def test_the_push_of_a_plan_that_changes_no_file_is_nothing() -> None:
    same = {**PATCH, "postimageContent": "before\n"}
    for plan in (a_plan(patchPlan=None), a_plan(patchPlan=[same])):
        complete = seal(plan, FILES, PUSHED).read()
        assert complete.push == PUSHED.push
        assert complete.push_title == "nothing, because the plan changes no file"
    assert seal(a_plan(), FILES, TERMS).read().push_title is None


def test_a_plans_hash_is_this_one() -> None:
    """A vector: a change of the format breaks every stored approval."""
    assert seal(a_plan(), FILES, TERMS).sha256 == (
        "5463db11d9ab8499af98f3f3dfd34731bbb304a9d22da3611f6f554d3544b6e5"
    )


def test_a_task_names_its_exact_command_line_and_all_its_sandbox_permits() -> None:
    (task,) = json.loads(seal(a_plan(), FILES, TERMS).tasks)
    assert task == {
        "position": 0,
        "test": "t",
        "command": "pytest t",
        "provider": "local",
        "environment": "local-node-24",
        "template": {"id": None, "key": "rcp:1:ff"},
        "net": False,
        "timeoutMs": 300_000,
        "cpu": 1,
        "memMB": 512,
    }


def test_a_change_names_its_content_by_hash_only() -> None:
    sealed = seal(a_plan(), FILES, TERMS)
    assert json.loads(sealed.changes) == [
        {
            "path": "a.txt",
            "op": "modify",
            "oldMode": "100644",
            "mode": "100644",
            "old": {"sha256": sha256_hex("before\n"), "gitBlob": git_blob_id(b"before\n")},
            "new": {"sha256": sha256_hex("after\n"), "gitBlob": git_blob_id(b"after\n")},
        }
    ]
    assert "after" not in sealed.text


@pytest.mark.parametrize(
    ("plan", "files", "terms"),
    [
        (a_plan(testCommand="pytest -x"), FILES, TERMS),
        (a_plan(tests=["t", "u"]), FILES, TERMS),
        (a_plan(tests=[]), FILES, TERMS),
        (a_plan(patchPlan=[{**PATCH, "postimageContent": "other\n"}]), FILES, TERMS),
        (a_plan(patchPlan=[{**PATCH, "targetPath": "c.txt"}]), FILES, TERMS),
        (a_plan(patchPlan=None), FILES, TERMS),
        (a_plan(patchPlan=[{**PATCH, "mode": "100755"}]), FILES, TERMS),
        (a_plan(patchPlan=[{"targetPath": "a.txt", "op": "delete"}]), FILES, TERMS),
        (a_plan(patchPlan=[{"targetPath": "c.txt", "op": "rename", "fromPath": "a.txt"}]), FILES, TERMS),
        (a_plan(patchPlan=[{"targetPath": "a.txt", "contentBase64": "//4="}]), FILES, TERMS),
        (a_plan(), {**FILES, "b.txt": FileState(b"other\n")}, TERMS),
        (a_plan(), {**FILES, "b.txt": FileState(b"kept\n", "100755")}, TERMS),
        (a_plan(), {**FILES, "c.txt": FileState(b"more\n")}, TERMS),
        (a_plan(), FILES, replace(TERMS, tasks=replace(TASKS, provider="mock"))),
        (a_plan(), FILES, replace(TERMS, tasks=replace(TASKS, net=True))),
        (a_plan(), FILES, replace(TERMS, tasks=replace(TASKS, timeout_ms=300_001))),
        (a_plan(), FILES, replace(TERMS, tasks=replace(TASKS, mem_mb=1024))),
        (a_plan(), FILES, replace(TERMS, tasks=replace(TASKS, cpu=2))),
        (a_plan(), FILES, replace(TERMS, tasks=replace(TASKS, environment="other"))),
        (a_plan(), FILES, replace(TERMS, tasks=replace(TASKS, template=TemplateReference(id="t", key="rcp:1:ff")))),
        (a_plan(), FILES, replace(TERMS, recipe=TERMS.recipe.model_copy(update={"version": 2}))),
        (a_plan(), FILES, replace(TERMS, policy=TERMS.policy.model_copy(update={"sha256": "c" * 64}))),
    ],
)
def test_whatever_changes_what_is_executed_changes_the_hash(
    plan: Plan, files: dict[str, FileState], terms: PlanTerms
) -> None:
    assert seal(plan, files, terms).sha256 != seal(a_plan(), FILES, TERMS).sha256


def test_two_patches_of_one_file_in_an_old_plan_are_one_change_and_a_patch_without_effect_is_none() -> None:
    twice = a_plan(patchPlan=[{**PATCH, "postimageContent": "first\n"}, PATCH])
    assert seal(twice, FILES, TERMS) == seal(a_plan(), FILES, TERMS)
    assert seal(a_plan(patchPlan=[{**PATCH, "postimageContent": "before\n"}]), FILES, TERMS).changes == "[]"


def test_what_is_sealed_is_read_as_it_was() -> None:
    sealed = seal(a_plan(), FILES, TERMS)
    complete = sealed.read().to_json()
    names = ("changes", "tasks", "recipe", "policy", "base")
    assert SealedPlan(**{name: canonical_json(complete[name]) for name in names}) == sealed
    assert canonical_json(complete["head"]) == sealed.head


def test_ten_thousand_tests_are_ten_thousand_tasks() -> None:
    planned = PlannedTasks.of("pytest", [f"t{number}" for number in range(MAX_TESTS)], TASKS)
    assert [task["command"] for task in json.loads(planned.section)] == [f"pytest t{n}" for n in range(MAX_TESTS)]
    assert planned.section == canonical_json([task.to_json() for task in planned])


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_the_name_of_a_test_is_one_argument_at_its_place(test: str) -> None:
    assert shlex.split(command_line("pytest -q", test)) == ["pytest", "-q", test]
    assert shlex.split(command_line("pytest {test} -q", test)) == ["pytest", test, "-q"]


def test_a_shell_passes_names_with_blanks_parentheses_and_dollars_on_unchanged() -> None:
    names = ["t.py::t[a b]", "t.py::t[(1, 2)]", "t.py::t[$HOME]", "-k x", "it's", "*", "`id`", ""]
    for name in names:
        command = command_line("""test=variable; printf '<%s>' {test} "${test}" #""", name)
        run = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
        assert run.stdout == f"<{name}><variable>"


@given(st.text("a{}tes'$ü", max_size=20), st.lists(st.text("a'ü ", max_size=8), max_size=3))
def test_the_longest_command_of_a_task_is_measured_without_building_any(command: str, tests: list[str]) -> None:
    longest = max((len(command_line(command, test).encode()) for test in tests), default=len(command.encode()))
    room = LONGEST_COMMAND - longest
    assert command_error(f"{'x' * room}{command}", tests) is None
    error = command_error(f"{'x' * (room + 1)}{command}", tests)
    assert error is not None and "has 120,001 bytes; the command of a task has at most 120,000" in error


def test_a_plan_whose_command_no_task_can_execute_is_refused() -> None:
    plan = a_plan(testCommand="ü" * 50_000, tests=["ü" * 9_999])
    with pytest.raises(CommandTooLong, match="has 120,001 bytes"):
        seal(plan, FILES, TERMS)


def test_a_plain_name_is_appended_as_it_is() -> None:
    assert command_line("pytest", "tests/test_a.py::test_b") == "pytest tests/test_a.py::test_b"


paths = st.sampled_from(["a", "b", "c/d"])
states = st.dictionaries(
    paths, st.builds(FileState, st.binary(max_size=3), st.sampled_from(["100644", "100755"])), max_size=3
)


@given(states, states)
def test_changes_are_exactly_what_turns_one_set_of_files_into_the_other(
    before: dict[str, FileState], after: dict[str, FileState]
) -> None:
    found = changes(before, after)
    assert [change.path for change in found] == sorted({change.path for change in found})
    hashes = {path: (state.mode, sha256_hex(state.content)) for path, state in before.items()}
    for change in found:
        assert hashes.pop(change.path, (None, None)) == (change.old_mode, change.old and change.old.sha256)
        if change.mode is not None and change.new is not None:
            hashes[change.path] = (change.mode, change.new.sha256)
        assert change.op == ("create" if change.old is None else "delete" if change.new is None else "modify")
    assert hashes == {path: (state.mode, sha256_hex(state.content)) for path, state in after.items()}
