"""`make demo`: run three intents through the whole system over HTTP and print the evidence of each step.

Its data folder is `<SISU_HOME>/demo`. A second run on the same data is a replay: same ids, same rows.
"""

import time
from pathlib import Path

from resources.sandbox.sandbox_port import SandboxUnavailable
from sisu_pipeline.proof.harness.lab_stack import LabFailed, LabStack, lab_stack
from sisu_pipeline.proof.labs import demo_repository
from sisu_pipeline.proof.labs.demo_project import FAILING_TEST, project_intent
from sisu_pipeline.proof.labs.demo_run import Demo, Json, PrintLine, expect, judge, show_tasks
from sisu_pipeline.queueing.sandbox_provider import check_sandbox
from sisu_pipeline.settings import settings

MONOLITH: Json = {"goal": "demo", "inputs": {}, "constraints": {}}


def run_demo(print_line: PrintLine) -> int:
    """Run the three intents; returns the exit code, 0 only when every expectation was met."""
    home = settings().home / "demo"
    began = time.monotonic()
    try:
        _run_on_mock_sandbox(home, print_line)
        ran_live = _can_isolate(home, print_line)
        if ran_live:
            _run_in_local_sandbox(home, print_line)
            demo_repository.run_on_repository(home, print_line)
    except LabFailed as failure:
        print_line(f"\nThe demo failed: {failure}")
        return 1
    print_line(
        f"\nExplore: SISU_HOME={home} sisu start; in Dagster's UI each intent is a partition of the asset graph."
    )
    print_line(f"Demo {'completed' if ran_live else 'incomplete'} after {time.monotonic() - began:.0f} s.")
    return 0 if ran_live else 1


def _run_on_mock_sandbox(home: Path, print_line: PrintLine) -> None:
    print_line("1. Lab L02: one intent is planned, approved and executed on the mock sandbox")
    with lab_stack(home, {"OC_MODE": "replay", "SBX_MODE": "mock"}) as stack:
        print_line(f"  stack            API {stack.url}, Dagster {stack.admin_url}, data {home}")
        view = Demo(stack, print_line).run(MONOLITH)
        expect(view["status"] == "succeeded", f"expected {view['runId']} to succeed, got {view['status']}")
        expect(
            view["tasks"] == {"total": 1, "finished": 1, "failed": 0}, f"unexpected task counts: {view['tasks']}"
        )
        judge(stack, print_line)
    print_line("  stopped          every process exited")


def _can_isolate(home: Path, print_line: PrintLine) -> bool:
    """False when this machine cannot isolate processes: the other parts are then reported as not run."""
    try:
        health = check_sandbox(
            settings().model_copy(update={"sbx_mode": "live", "sbx_provider": "local", "sisu_home": home})
        )
    except SandboxUnavailable as refusal:
        print_line(f"\n2. and 3. NOT RUN: {refusal}")
        return False
    details = ", ".join(f"{name} {value}" for name, value in health.detail.items())
    print_line(f"\nThe self-test of the local sandbox passed: {details}")
    return True


def _run_in_local_sandbox(home: Path, print_line: PrintLine) -> None:
    intent = project_intent()
    tests = intent["inputs"]["tests"]
    files = len(intent["inputs"]["files"])
    print_line(f"\n2. A Python project of {files} files, {len(tests)} of them tests, and a patch;")
    print_line("   each test file runs in its own bubblewrap sandbox; one fails and must be reported as failed")
    with lab_stack(home, {"OC_MODE": "replay", "SBX_MODE": "live", "SBX_PROVIDER": "local"}) as stack:
        print_line(f"  stack            API {stack.url}, Dagster {stack.admin_url}, data {home}")
        view = Demo(stack, print_line).run(intent)
        _check_tasks(stack, view, tests, print_line)
        judge(stack, print_line)
    print_line("  stopped          every process exited")


def _check_tasks(stack: LabStack, view: Json, tests: list[str], print_line: PrintLine) -> None:
    rows = show_tasks(stack, view, print_line)
    expect([row["command"].split()[-1] for row in rows] == tests, "results do not match the tests")
    failed = [row for row in rows if row["err_code"] != "NONE"]
    expect([row["err_code"] for row in failed] == ["CMD_NONZERO"], f"expected one failed task, got {len(failed)}")
    expect(
        failed[0]["command"].endswith(FAILING_TEST), f"expected {FAILING_TEST} to fail, got {failed[0]['command']}"
    )
    expect(view["status"] == "retries_exceeded", f"expected status retries_exceeded, got {view['status']}")
    expect(any(step["stepId"] == "ExecuteST" for step in view["steps"]), "ExecuteST has no step row")
