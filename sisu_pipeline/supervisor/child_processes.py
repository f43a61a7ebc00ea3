"""How the supervisor's child processes start, log and end."""

import ctypes
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_PR_SET_PDEATHSIG = 1
# On a busy machine, API requests, which take milliseconds, have priority over workers.
_NICENESS = 5
MOST_LOG_BYTES = 64 * 2**20
"""A longer log is moved aside; there are at most two files of each program."""


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the processes of a program's session that are left, its children included."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def open_log(path: Path) -> BinaryIO:
    """Open for appending, for the owner only: a log of a failure may quote what the program read."""
    log = os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
    os.fchmod(log.fileno(), 0o600)
    return log


def rotate_log(path: Path, most_bytes: int = MOST_LOG_BYTES) -> None:
    """Move the content of a log that has grown too long to `<path>.1`, in place of what is there.

    The program writes on to the same file: it is open for appending.
    """
    with suppress(FileNotFoundError):
        if path.stat().st_size > most_bytes:
            with open_log(path.with_name(f"{path.name}.1")) as older, path.open("rb") as log:
                older.truncate(0)
                shutil.copyfileobj(log, older)
            os.truncate(path, 0)


def run_in_background() -> None:
    """In the child, before exec: run with less priority, and terminate when the supervisor is killed."""
    die_with_parent()
    os.nice(_NICENESS)
    # Where Linux groups processes by session, the niceness of the group sets the session's share (`man 7 sched`).
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_NICENESS))


def die_with_parent() -> None:
    """In the child, before exec: terminate when the supervisor is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.umask(0o077)
