"""Cancellation: from the request to the moment the last process of the run's sandboxes is gone."""

import os
import select
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sisu_pipeline.proof.bench import sandbox_leftovers
from sisu_pipeline.proof.bench.bench_stack import Stage, folder, stage_in
from sisu_pipeline.proof.bench.engine_bench import Progress, Report, spread
from sisu_pipeline.proof.bench.sandbox_bench import live
from sisu_pipeline.proof.harness.lab_stack import LabFailed
from sisu_pipeline.workflow import patching

MOST_P95_S = 2.0
"""Seconds from the request to the last process's end that most cancellations may take."""

FILES = {"a.txt": "before\n", "keep.txt": "keep\n"}
PATCHES = [
    {"targetPath": "a.txt", "postimageContent": "after\n", "diffText": "-before\n+after\n"},
    {"targetPath": "new/b.txt", "postimageContent": "new\n", "diffText": "+new\n"},
]
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Canceled:
    """One round: seconds from the request to its answer, to the last process's end, to the closed run."""

    answered: float
    last_process_gone: float
    closed: float


def cancel(rounds: int, tasks: int, progress: Progress) -> Report:
    """`rounds` runs of `tasks` tasks of two processes each, canceled while all of them run."""
    with folder() as home:
        before = sandbox_leftovers.take(home)
        with stage_in(home, live(tasks, 1), workers=1, sandbox_workers=1) as stack:
            ended = []
            for number in range(rounds):
                ended.append(_round(stack, number, tasks))
                progress(f"canceled {number + 1}/{rounds}")
            left = sandbox_leftovers.left(home, before, stack_lives=True)
    gone = spread([one.last_process_gone for one in ended])
    return {
        "passed": gone["p95"] < MOST_P95_S and not left,
        "rounds": rounds,
        "processes_per_round": 2 * tasks,
        "request_to_answer_s": spread([one.answered for one in ended]),
        "request_to_last_process_gone_s": gone,
        "request_to_patches_taken_back_s": spread([one.closed for one in ended]),
        "left": left,
    }


def _round(stack: Stage, number: int, tasks: int) -> Canceled:
    # Seconds nobody else sleeps: by them the processes are found.
    seconds = f"86400.{os.getpid()}{number:04d}"
    inputs: dict[str, Any] = {
        "files": FILES,
        "patches": PATCHES,
        "tests": [f"t{task}" for task in range(tasks)],
        # One of the two has left its parent's session, as a server started by a test would.
        "testCommand": f"sh -c 'setsid sleep {seconds} & exec sleep {seconds}'",
    }
    workflow_id = stack.submit(f"cancel {number}", inputs)
    stack.approve(workflow_id)
    stack.until(lambda: len(_sleeping(seconds)) == 2 * tasks, _TIMEOUT_S, lambda: f"{2 * tasks} processes")
    run = stack.row("labs.of_run", workflow_id=workflow_id)
    if _files(stack, run["id"]) == FILES:
        raise LabFailed("the patches were not there before the cancellation: nothing was shown")
    with _Watched(_sleeping(seconds)) as watched:
        asked = time.monotonic()
        status, answer = stack.post(f"/runs/{run['id']}/cancel", {"actor": "bench", "reason": "measured"})
        answered = time.monotonic()
        if status != 202:
            raise LabFailed(f"cancel: {status} {answer}")
        gone = watched.wait()
    if _sleeping(seconds):
        raise LabFailed(f"processes of {workflow_id} were left or started behind the cancellation")
    stack.until(
        lambda: bool(stack.row("labs.of_run", workflow_id=workflow_id)["is_closed"]), _TIMEOUT_S, lambda: "closed"
    )
    closed = time.monotonic()
    if (found := _files(stack, run["id"])) != FILES:
        raise LabFailed(f"the patches were not taken back: {found}")
    stack.wait_for([workflow_id], "canceled", _TIMEOUT_S)
    return Canceled(answered - asked, gone - asked, closed - asked)


class _Watched:
    """Processes by descriptor: their end is heard of, not looked for."""

    def __init__(self, pids: list[int]) -> None:
        self._open = ExitStack()
        self._poll = select.poll()
        self._alive = set()
        for pid in pids:
            descriptor = os.pidfd_open(pid)
            self._open.callback(os.close, descriptor)
            self._poll.register(descriptor, select.POLLIN)
            self._alive.add(descriptor)

    def __enter__(self) -> "_Watched":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def wait(self) -> float:
        """The monotonic time at which the last of them was gone. Raises LabFailed after a minute."""
        deadline = time.monotonic() + _TIMEOUT_S
        while self._alive:
            ended = self._poll.poll(1000 * max(0.0, deadline - time.monotonic()))
            if not ended:
                raise LabFailed(f"{len(self._alive)} processes outlived the cancellation by {_TIMEOUT_S:.0f} s")
            for descriptor, _ in ended:
                self._poll.unregister(descriptor)
                self._alive.discard(descriptor)
        return time.monotonic()


def _sleeping(seconds: str) -> list[int]:
    """The pids of the tasks' own processes."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(int(entry.name))
    return found


def _files(stack: Stage, run_id: str) -> dict[str, str]:
    root = patching.workspace_of(stack.stack.settings.workspaces, run_id).root
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}
