"""Give this process a clock of its own, and each process that it forks.

libfaketime reads the offset of the clock from the file that FAKETIME_TIMESTAMP_FILE names, about once a second.
Here the name of that file is the id of the process; without the file, the clock is right.
"""

import os
import select
import time
from pathlib import Path
from typing import SupportsIndex

_FOLDER = Path(os.environ["FAKETIME_TIMESTAMP_FILE"]).parent


def _use_own_file() -> None:
    os.environ["FAKETIME_TIMESTAMP_FILE"] = str(_FOLDER / str(os.getpid()))


def _sleep(seconds: float | SupportsIndex) -> None:
    """Sleep by another system call than clock_nanosleep, which libfaketime 0.9.10 lets fail (EINVAL)."""
    select.select((), (), (), seconds.__index__() if isinstance(seconds, SupportsIndex) else seconds)


_use_own_file()
os.register_at_fork(after_in_child=_use_own_file)
time.sleep = _sleep
