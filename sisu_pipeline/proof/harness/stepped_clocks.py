"""Clocks of single processes that a lab sets to a wrong time, by libfaketime.

Only CLOCK_REALTIME is changed. Postgres, which receives no environment, keeps the right time.
"""

import heapq
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sisu_pipeline.proof.harness import clock_hook
from sisu_pipeline.settings import child_environment

_LIBRARY = "faketime/libfaketimeMT.so.1"
_LIBRARY_FOLDERS = ("usr/lib", "usr/lib64", "usr/local/lib", "usr/lib/*-linux-gnu")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where libfaketime creates its files


@dataclass
class SteppedClocks:
    """The clocks of processes that were started with `variables`; `folder` holds one file per wrong clock."""

    folder: Path
    library: Path
    _wrong: list[tuple[float, int]] = field(default_factory=list)

    @property
    def variables(self) -> dict[str, str]:
        """The environment by which a process, and all that it starts, has a clock of its own."""
        hook = str(Path(clock_hook.__file__).parent)
        path = child_environment().get("PYTHONPATH")
        return {
            "LD_PRELOAD": str(self.library),
            "PYTHONPATH": f"{hook}{os.pathsep}{path}" if path else hook,
            "FAKETIME_TIMESTAMP_FILE": str(self.folder / "none"),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Otherwise its waits end too early, threads take Python's lock from each other all the time, and a
            # process of many threads is ten times slower.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def step(self, pids: Sequence[int], offset_s: int, seconds: float) -> None:
        """Put the clocks of processes ahead (or back, if negative) by `offset_s`, for `seconds`."""
        for pid in pids:
            self._write(pid, offset_s)
            heapq.heappush(self._wrong, (time.monotonic() + seconds, pid))

    def correct(self, *, everything: bool = False) -> None:
        """Correct the clocks whose time is up, or all of them."""
        while self._wrong and (everything or self._wrong[0][0] <= time.monotonic()):
            _, pid = heapq.heappop(self._wrong)
            if all(pid != other for _, other in self._wrong):
                self._write(pid, 0)
        _remove_files_of_ended()

    def _write(self, pid: int, offset_s: int) -> None:
        """Replace the file at once: its reader must not see half of it."""
        new = self.folder / f"{pid}.new"
        new.write_text(f"{offset_s:+d}\n")
        new.replace(self.folder / str(pid))


@contextmanager
def stepped_clocks() -> Iterator[SteppedClocks | None]:
    """Clocks for the processes of a lab; None where libfaketime is not installed."""
    library = _library()
    if library is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="sisu-clocks-") as folder:
        try:
            yield SteppedClocks(Path(folder), library)
        finally:
            _remove_files_of_ended()


def _library() -> Path | None:
    found = (path for folder in _LIBRARY_FOLDERS for path in Path("/").glob(f"{folder}/{_LIBRARY}"))
    return next(found, None)


def _remove_files_of_ended() -> None:
    """Remove what libfaketime leaves of killed processes: a later process with such an id would find it."""
    for path in _SHARED_MEMORY.glob("*faketime_*"):
        pid = path.name.rpartition("_")[2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            with suppress(OSError):
                path.unlink()
