"""`python -m tests.integration.engine.nursery`: forks real worker groups, one per line of JSON on its input.

It answers each line with the group's pid. At the end of its input it kills what it forked, and ends.
"""

import ctypes
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.settings import settings
from sisu_pipeline.worker import worker_group
from sisu_pipeline.workflow.dependencies import dependencies

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Fork until the input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the groups: none becomes a zombie
    worker_group.preload()
    groups = []
    for line in sys.stdin:
        groups.append(_fork(json.loads(line)))
        print(groups[-1], flush=True)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _fork(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _become_a_group(order)
    except BaseException:
        traceback.print_exc()
    os._exit(0)


def _become_a_group(order: dict[str, Any]) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(2, 1)  # the nursery's own output is for its answers
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    if order["namespace"] is not None:
        _enter(order["namespace"])
    os.environ.update(order["variables"])
    for remembered in (settings, dependencies):
        remembered.cache_clear()
    worker_group.WorkerGroup(QueueName(order["queue"]), order["processes"]).run()


def _enter(namespace: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", namespace).open("rb") as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")


if __name__ == "__main__":
    main()
