"""Give this process a clock of its own, and each process that it forks.

libfaketime reads the offset of the clock from the file that FAKETIME_TIMESTAMP_FILE names, about once a second. Here
the name of that file is the id of the process; without the file, the clock is right.
"""

import os
import select
import time

_FOLDER = os.path.dirname(os.environ["FAKETIME_TIMESTAMP_FILE"])


def _use_own_file() -> None:
    os.environ["FAKETIME_TIMESTAMP_FILE"] = f"{_FOLDER}/{os.getpid()}"


def _sleep(seconds: float) -> None:
    """Sleep by another system call: libfaketime 0.9.10 lets clock_nanosleep fail if it leaves CLOCK_MONOTONIC alone."""
    select.select((), (), (), seconds)


_use_own_file()
os.register_at_fork(after_in_child=_use_own_file)
time.sleep = _sleep
