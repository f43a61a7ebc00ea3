"""ExecuteST: one task per test, each position once, and one result of many."""

import itertools
import shlex
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.contracts.sandbox_request import ErrorCode, FileIn
from sisu_pipeline.contracts.step_outputs import MAX_TESTS, StepId
from sisu_pipeline.domain.canonical import canonical_json, canonical_pieces
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.complete_plan import PlannedTasks
from sisu_pipeline.steps.execute import (
    MAX_SHARDS,
    FanOut,
    TaskDefaults,
    TaskResult,
    Template,
    build_tasks,
    cold_template,
    merge,
    shards,
)
from tests import json_values

COLD = Template("env:local-node-24", "844500c91f0c93a931c6b2c73f0c5f5defa6f449bc9ea04564c76c02ce399e02")
DEFAULTS = TaskDefaults(timeout_ms=300_000, net=False)
WORKFLOW, RUN = "it_0123456789abcdef", "run_42db556554a7e6f9ec58fc38b780e8f0"


def tasks(
    *tests: str,
    command: str = "pnpm test",
    template: Template = COLD,
    files: dict[str, str] | None = None,
    run: str = RUN,
) -> FanOut:
    planned = PlannedTasks.of(command, tests, template.terms(DEFAULTS))
    states = {path: FileState(text.encode()) for path, text in (files or {}).items()}
    return build_tasks(WORKFLOW, run, planned, template.deps_hash, states)


def test_without_tests_the_command_itself_is_the_one_task() -> None:
    (task,) = tasks()
    assert task.request.cmd == "pnpm test"
    assert task.key == "48f9587386298e6563633a068c3d09f6afd3670ea3320e4014b47d54a24fd5a3"


def test_each_test_is_a_task_with_the_original_key() -> None:
    (task,) = tasks("test0.ts", command="echo running")
    assert task.request.cmd == "echo running test0.ts"
    assert task.key == "119f85a49403a27714048a49fa7eadfd29eb8da9b255cfc11668572e0e34a0b9"


def test_a_task_asks_for_what_the_original_asked() -> None:
    (task,) = tasks()
    request = task.request.to_json()
    assert request == {
        "envRef": "local-node-24",
        "cmd": "pnpm test",
        "filesIn": [],
        "env": {},
        "timeoutMs": 300_000,
        "limits": {"cpu": 1, "memMB": 512},
        "net": False,
        "taskKey": task.key,
        "templateKey": COLD.key,
        "depsHash": COLD.deps_hash,
    }


def test_a_repeated_test_is_one_task_at_its_first_place() -> None:
    assert [(task.position, task.request.cmd) for task in tasks("b", "a", "b", "c", "a")] == [
        (0, "pnpm test b"),
        (1, "pnpm test a"),
        (2, "pnpm test c"),
    ]


def test_ten_thousand_tests_are_ten_thousand_keys() -> None:
    many = tasks(*(f"test{number}.ts" for number in range(MAX_TESTS)))
    assert len({task.key for task in many}) == len(many) == MAX_TESTS
    assert [task.position for task in many] == list(range(MAX_TESTS))


def test_whatever_changes_what_is_executed_changes_the_key() -> None:
    variants = [
        tasks(),
        tasks(command="npm test"),
        tasks("a"),
        tasks(template=Template("other", COLD.deps_hash)),
        tasks(template=replace(COLD, template_id="tpl_1")),
        tasks(files={"a.py": "1"}),
        tasks(files={"a.py": "2"}),
        tasks(files={"b.py": "1"}),
        tasks(run="run_other"),
    ]
    assert len({task.key for variant in variants for task in variant}) == len(variants)


def test_every_sandbox_gets_the_workspaces_files_in_a_fixed_order() -> None:
    forwards, backwards = tasks("t", files={"a": "1", "b": "2"}), tasks("t", files={"b": "2", "a": "1"})
    assert forwards == backwards
    assert [(file.path, file.inline) for file in forwards[0].request.files_in] == [("a", "1"), ("b", "2")]


def test_a_file_that_is_executable_or_not_text_is_given_as_such_and_changes_the_key() -> None:
    planned = PlannedTasks.of("run", (), COLD.terms(DEFAULTS))
    plain, executable, binary = (
        build_tasks(WORKFLOW, RUN, planned, COLD.deps_hash, {"a": state})[0]
        for state in (FileState(b"1"), FileState(b"1", "100755"), FileState(b"\xff\0"))
    )
    assert plain.request.files_in == (FileIn(path="a", inline="1"),)
    assert executable.request.files_in == (FileIn(path="a", inline="1", mode="100755"),)
    assert binary.request.files_in == (FileIn(path="a", uri="data:;base64,/wA="),)
    assert plain.key == tasks(command="run", files={"a": "1"})[0].key
    assert len({plain.key, executable.key, binary.key}) == 3


def test_a_registered_template_is_named_in_the_request() -> None:
    (task,) = tasks(template=replace(COLD, template_id="tpl_1"))
    assert task.request.template_id == "tpl_1"


def test_a_recipe_versions_template_key_names_recipe_version_and_hash() -> None:
    assert cold_template("rcp", 2, "ff") == Template("rcp:2:ff", "ff", None)


@given(st.lists(json_values.text, max_size=12))
def test_tasks_are_the_distinct_tests_in_order(tests: list[str]) -> None:
    planned = tasks(*tests)
    distinct = list(dict.fromkeys(tests))
    assert [task.request.cmd for task in planned] == [
        f"pnpm test {shlex.quote(test)}" for test in distinct
    ] or not tests
    assert len({task.key for task in planned}) == len(planned) == max(1, len(distinct))


def test_shards_hold_every_position_exactly_once_in_order() -> None:
    for count in range(1, 12_001):
        parts = shards(count)
        assert len(parts) == min(count, MAX_SHARDS)
        assert parts[0].start == 0
        assert parts[-1].stop == count
        assert all(left.stop == right.start for left, right in itertools.pairwise(parts))
        sizes = {len(part) for part in parts}
        assert min(sizes) > 0
        assert max(sizes) - min(sizes) <= 1


def a_result(number: int, err_code: ErrorCode = ErrorCode.NONE, **change: Any) -> TaskResult:
    result = TaskResult(
        key=f"key{number}",
        attempt=1,
        err_code=err_code,
        exit=0 if err_code is ErrorCode.NONE else 40 + number,
        stdout=f"out{number}",
        stderr=f"err{number}",
        metrics={"wallMs": 10 + number, "cpuMs": 1, "memPeakMB": 5 - number},
        sandbox_ref="mock",
        artifact_index_ref=f"artifact://{number}",
        files_out=({"path": f"f{number}", "sha256": "0" * 64},),
    )
    return replace(result, **change)


def test_many_results_are_merged_into_one() -> None:
    merged = merge([a_result(0), a_result(1, attempt=2, sandbox_ref="other"), a_result(2)])
    assert merged.step is StepId.EXECUTE
    assert merged.attempt == 2
    assert merged.artifacts == ()
    tasks_ = merged.output.pop("raw")["tasks"]
    assert [(task["taskKey"], task["attempt"], task["errCode"]) for task in tasks_] == [
        ("key0", 1, "NONE"),
        ("key1", 2, "NONE"),
        ("key2", 1, "NONE"),
    ]
    assert merged.output == {
        "exit": 0,
        "stdout": "out0\n---\nout1\n---\nout2",
        "stderr": "err0\n---\nerr1\n---\nerr2",
        "filesOut": [{"path": f"f{number}", "sha256": "0" * 64} for number in range(3)],
        "metrics": {"wallMs": 12, "cpuMs": 3, "memPeakMB": 5},
        "sandboxRef": "mock,other",
        "errCode": "NONE",
        "taskKey": "aggregated",
        "artifactIndexRef": "artifact://0,artifact://1,artifact://2",
    }


def test_the_list_of_tasks_is_a_list_like_any_other() -> None:
    merged = merge([a_result(0), a_result(1, ErrorCode.TIMEOUT), a_result(2)])
    lines = merged.output["raw"]["tasks"]
    assert lines[1] == {
        "taskKey": "key1",
        "errCode": "TIMEOUT",
        "exit": 41,
        "artifactIndexRef": "artifact://1",
        "metrics": {"wallMs": 11, "cpuMs": 1, "memPeakMB": 4},
        "attempt": 1,
    }
    assert [lines[-1], *lines[:2]] == [list(lines)[place] for place in (2, 0, 1)]
    assert canonical_json(lines) == canonical_json(list(lines)) == "".join(canonical_pieces(lines))


def test_the_first_task_that_failed_gives_the_merged_code_and_exit() -> None:
    merged = merge([a_result(0), a_result(1, ErrorCode.TIMEOUT), a_result(2, ErrorCode.CMD_NONZERO)])
    assert (merged.output["errCode"], merged.output["exit"]) == ("TIMEOUT", 41)
