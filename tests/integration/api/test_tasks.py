"""GET /runs/{id}/tasks and /logs, `sisu run show` and `sisu run logs`: a run that has ended explains itself."""

import subprocess
import sys
from contextlib import suppress

from sisu_pipeline.contracts.sandbox_request import ErrorCode, SandboxResult
from sisu_pipeline.domain.changes.plan_changes import ChangeInvalid
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.settings import PROJECT_ROOT
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.workflow import ownership, run_failure, step_execution
from tests.integration.api.conftest import Api
from tests.integration.gate.world import Waiting
from tests.integration.life import ended

TESTS = ["test_a", "test_b", "test_c"]


def mixed(task: Task) -> SandboxResult:
    """The second task fails."""
    if task.position != 1:
        return ended()(task)
    return ended(ErrorCode.CMD_NONZERO)(task).model_copy(
        update={"stderr": "warning\x1b[31m\nAssertionError: 1 != 2\n", "stdout": "", "exit": 3}
    )


def a_failed_run(api: Api) -> Waiting:
    """A run of three tests, one of which failed."""
    run = Waiting(api.dependencies, tests=TESTS, testCommand="check")
    api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "bob"})
    ownership.enter(api.dependencies.database, run.id, run.owner)
    decided = step_execution.decide_plan(api.dependencies, run.id)
    assert decided is not None
    step_execution.commit(api.dependencies, run.id, decided)
    with suppress(step_execution.SandboxExecutionFailed), run_failure.ending_on_failure(api.dependencies, run.id):
        run.execute(mixed)
    assert run.run.status is RunStatus.RETRIES_EXCEEDED
    return run


def test_the_tasks_of_a_run_have_their_tests_results_and_ends_of_outputs(api: Api) -> None:
    run = a_failed_run(api)
    page = api.get(f"/runs/{run.run_id}/tasks").json()
    assert [(task["test"], task["result"], task["exit"]) for task in page["tasks"]] == [
        ("test_a", "passed", 0),
        ("test_b", "failed", 3),
        ("test_c", "passed", 0),
    ]
    assert page["nextAfter"] is None
    failed = page["tasks"][1]
    assert failed["command"] == "check test_b"
    assert failed["stderrTail"].endswith("AssertionError: 1 != 2\n")
    stderr = api.get(f"/artifacts/{failed['stderrUri'].removeprefix('artifact://')}")
    assert stderr.text == failed["stderrTail"]
    assert api.get(f"/runs/{run.run_id}").json()["outcome"] == "failed: 1 of 3 tests"
    assert api.get("/inbox").json()["finished"][0]["outcome"] == "failed: 1 of 3 tests"


def test_pages_of_tasks_by_result(api: Api) -> None:
    run = a_failed_run(api)

    def page(query: str) -> tuple[list[int], int | None]:
        answer = api.get(f"/runs/{run.run_id}/tasks?{query}").json()
        return [task["position"] for task in answer["tasks"]], answer["nextAfter"]

    assert page("result=passed&limit=1") == ([0], 0)
    assert page("result=passed&limit=1&after=0") == ([2], None)
    assert page("result=failed") == ([1], None)
    for query in ("result=other", "limit=0", "limit=201", "after=-2", "x=1"):
        assert api.get(f"/runs/{run.run_id}/tasks?{query}").json()["code"] == "invalid_query"
    assert api.get("/runs/run_nobody/tasks").status_code == 404


def test_the_logs_of_all_tasks_or_of_one(api: Api) -> None:
    run = a_failed_run(api)
    whole = api.get(f"/runs/{run.run_id}/logs")
    assert whole.headers["content-disposition"] == f'attachment; filename="{run.run_id}.log"'
    assert whole.headers["content-security-policy"] == "default-src 'none'; sandbox"
    failed = "== 1: test_b: failed, exit 3, 0.0 s ==\n-- stderr --\nwarning\x1b[31m\nAssertionError: 1 != 2\n"
    assert whole.text == (
        "== 0: test_a: passed, exit 0, 0.0 s ==\n-- stdout --\nOK: check test_a\n"
        f"{failed}== 2: test_c: passed, exit 0, 0.0 s ==\n-- stdout --\nOK: check test_c\n"
    )
    assert api.get(f"/runs/{run.run_id}/logs?task=1").text == failed
    missing = api.get(f"/runs/{run.run_id}/logs?task=3")
    assert (missing.status_code, missing.json()["error"]) == (404, "the run has no task 3 that has ended")


def test_a_run_without_tasks_has_an_empty_page_and_empty_logs(api: Api) -> None:
    run = Waiting(api.dependencies)
    assert api.get(f"/runs/{run.run_id}/tasks").json() == {"tasks": [], "nextAfter": None}
    assert api.get(f"/runs/{run.run_id}/logs").text == ""


def test_the_terminal_shows_the_same(api: Api) -> None:
    run = a_failed_run(api)
    shown = sisu(api, "show", run.run_id)
    for part in (
        "failed: 1 of 3 tests",
        "First failure, task 1, stderr:",
        "  AssertionError: 1 != 2",
        "(approval)",
    ):
        assert part in shown
    logs = sisu(api, "logs", run.run_id)
    for part in ("== 0: test_a: passed", "== 1: test_b: failed, exit 3", "warning\\x1b[31m"):
        assert part in logs
    assert "test_a" not in sisu(api, "logs", run.run_id, "1")
    assert "\x1b" not in shown + logs


def sisu(api: Api, verb: str, *arguments: str) -> str:
    """The output of `sisu run`, whose connections end with its process."""
    command = [sys.executable, "-m", "sisu_pipeline.cli", "run", verb, *arguments, "--url", api.url]
    return subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout


def test_a_rejection_names_the_person(api: Api) -> None:
    run = Waiting(api.dependencies)
    api.post(f"/runs/{run.run_id}/reject-plan", {"rejectedBy": "ann", "reason": "no"})
    run.segment()
    assert api.get(f"/runs/{run.run_id}").json()["outcome"] == "rejected by ann"


def test_invalid_input_is_named(api: Api) -> None:
    run = Waiting(api.dependencies, start=False, patches=[{"targetPath": "missing.txt", "op": "delete"}])
    with suppress(ChangeInvalid), run_failure.ending_on_failure(api.dependencies, run.id):
        run.segment()
    assert api.get(f"/runs/{run.run_id}").json()["outcome"] == "invalid input"
