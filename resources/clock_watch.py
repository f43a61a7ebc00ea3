"""The end of a process whose clock was set back, for Dagster's processes, which measure pauses by the wall clock.

The loops of its daemon subtract two times of day and wait for the rest of their interval, and gRPC, by which its
processes call each other, waits by the wall clock too. After a step of three hours back, they would start no run
and answer no call for three hours. A new process knows only the new time.
"""

import os
import sys
import threading
import time
from collections.abc import Callable

LONGEST_STEP_S = 5.0
"""A shorter step is not worth a restart: the loops wait so much longer, once."""
_CHECK_INTERVAL_S = 1.0


def end_when_set_back(program: str) -> None:
    """Watch the clock of this process, a `program`, in a thread; end the process at once when it is set back."""
    threading.Thread(target=_watch, args=(program,), name="clock-watch", daemon=True).start()


def seconds_set_back(
    wait: Callable[[], object],
    wall: Callable[[], float] = time.time,
    steady: Callable[[], float] = time.monotonic,
) -> float:
    """Return by how many seconds the wall clock was set back, once it was by more than LONGEST_STEP_S.

    `wait` is called between two looks. The wall clock is compared with a steady one: a long wait is no step.
    """
    offset = wall() - steady()
    while True:
        wait()
        before, offset = offset, wall() - steady()
        if before - offset > LONGEST_STEP_S:
            return before - offset


def _watch(program: str) -> None:
    seconds = seconds_set_back(lambda: threading.Event().wait(_CHECK_INTERVAL_S))
    sys.stderr.write(f"the clock was set back by {seconds:.0f} s: the {program} ends, to be started again\n")
    sys.stderr.flush()
    # Whatever it was doing is interrupted, as by a kill, which everything here survives.
    os._exit(1)
