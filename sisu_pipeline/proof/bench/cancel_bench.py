"""Cancellation: the time from the request until the last process of the run's sandboxes has exited."""

import os
import select
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sisu_pipeline.proof.bench import sandbox_leftovers
from sisu_pipeline.proof.bench.bench_stack import MeasuredStack, measured_stack_in, temporary_folder
from sisu_pipeline.proof.bench.engine_bench import Report, ReportStatus, spread
from sisu_pipeline.proof.bench.sandbox_bench import live_variables
from sisu_pipeline.proof.harness.lab_stack import LabFailed
from sisu_pipeline.workflow import patching

MAX_P95_S = 2.0
"""Limit of the 95th percentile: seconds from the request until the last process has exited."""

FILES = {"a.txt": "before\n", "keep.txt": "keep\n"}
PATCHES = [
    {"targetPath": "a.txt", "postimageContent": "after\n", "diffText": "-before\n+after\n"},
    {"targetPath": "new/b.txt", "postimageContent": "new\n", "diffText": "+new\n"},
]
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class CancelTimes:
    """One round: seconds from the request to its response, to the exit of the last process, to the closed run."""

    responded: float
    last_process_gone: float
    closed: float


def cancel(rounds: int, tasks: int, report_status: ReportStatus) -> Report:
    """Cancel `rounds` runs of `tasks` tasks with two processes each, while all processes run."""
    with temporary_folder() as home:
        before = sandbox_leftovers.take_inventory(home)
        with measured_stack_in(home, live_variables(tasks, 1), workers=1, sandbox_workers=1) as stack:
            ended = []
            for number in range(rounds):
                ended.append(_round(stack, number, tasks))
                report_status(f"canceled {number + 1}/{rounds}")
            left = sandbox_leftovers.find_leftovers(home, before, stack_is_running=True)
    gone = spread([one.last_process_gone for one in ended])
    return {
        "passed": gone["p95"] < MAX_P95_S and not left,
        "rounds": rounds,
        "processes_per_round": 2 * tasks,
        "request_to_answer_s": spread([one.responded for one in ended]),
        "request_to_last_process_gone_s": gone,
        "request_to_patches_taken_back_s": spread([one.closed for one in ended]),
        "left": left,
    }


def _round(stack: MeasuredStack, number: int, tasks: int) -> CancelTimes:
    # A duration that is unique on this machine identifies the processes.
    seconds = f"86400.{os.getpid()}{number:04d}"
    inputs: dict[str, Any] = {
        "files": FILES,
        "patches": PATCHES,
        "tests": [f"t{task}" for task in range(tasks)],
        # One of the two leaves its parent's session, as a server started by a test would.
        "testCommand": f"sh -c 'setsid sleep {seconds} & exec sleep {seconds}'",
    }
    workflow_id = stack.submit(f"cancel {number}", inputs)
    stack.approve(workflow_id)
    stack.wait_until(
        lambda: len(_sleeping(seconds)) == 2 * tasks, _TIMEOUT_S, lambda: f"{2 * tasks} processes to run"
    )
    run = stack.row("labs.of_run", workflow_id=workflow_id)
    if _files(stack, run["id"]) == FILES:
        raise LabFailed("the patches were not applied before the cancellation; the round proves nothing")
    with _ProcessWatch(_sleeping(seconds)) as watch:
        requested = time.monotonic()
        status, response = stack.post(f"/runs/{run['id']}/cancel", {"actor": "bench", "reason": "measured"})
        responded = time.monotonic()
        if status != 202:
            raise LabFailed(f"cancel returned {status}: {response}")
        gone = watch.wait()
    if _sleeping(seconds):
        raise LabFailed(f"processes of {workflow_id} survived the cancellation or were started after it")
    stack.wait_until(
        lambda: bool(stack.row("labs.of_run", workflow_id=workflow_id)["is_closed"]),
        _TIMEOUT_S,
        lambda: "the run to be closed",
    )
    closed = time.monotonic()
    if (found := _files(stack, run["id"])) != FILES:
        raise LabFailed(f"the patches were not rolled back: {found}")
    stack.wait_for_status([workflow_id], "canceled", _TIMEOUT_S)
    return CancelTimes(responded - requested, gone - requested, closed - requested)


class _ProcessWatch:
    """Wait for processes through their pidfds, which become readable when a process exits."""

    def __init__(self, pids: list[int]) -> None:
        self._open = ExitStack()
        self._poll = select.poll()
        self._alive = set()
        for pid in pids:
            descriptor = os.pidfd_open(pid)
            self._open.callback(os.close, descriptor)
            self._poll.register(descriptor, select.POLLIN)
            self._alive.add(descriptor)

    def __enter__(self) -> "_ProcessWatch":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def wait(self) -> float:
        """Wait for the last process; returns the monotonic time of its exit. Raises LabFailed after a minute."""
        deadline = time.monotonic() + _TIMEOUT_S
        while self._alive:
            ended = self._poll.poll(1000 * max(0.0, deadline - time.monotonic()))
            if not ended:
                raise LabFailed(f"{len(self._alive)} processes are alive {_TIMEOUT_S:.0f} s after the cancellation")
            for descriptor, _ in ended:
                self._poll.unregister(descriptor)
                self._alive.discard(descriptor)
        return time.monotonic()


def _sleeping(seconds: str) -> list[int]:
    """The pids of the tasks' processes."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(int(entry.name))
    return found


def _files(stack: MeasuredStack, run_id: str) -> dict[str, str]:
    root = patching.workspace_of(stack.process.settings.workspaces, run_id).root
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}
