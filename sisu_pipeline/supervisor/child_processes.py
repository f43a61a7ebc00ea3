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
_TAIL_BYTES = 4096
_LONGEST_LINE = 200


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the processes of a program's session that are left, its children included."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def cause_of_end(status: int, log: Path, start: int) -> str:
    """How a process ended, and the last line that it wrote to its log, which was `start` bytes long before.

    `status` is the return code of `subprocess`: negative for a signal.
    """
    if status == -signal.SIGKILL:
        return "killed by SIGKILL"
    ending = f"killed by {_signal_name(-status)}" if status < 0 else f"exit {status}"
    line = _last_line(log, start)
    return f"{ending}: {line}" if line else f"{ending}, without a message"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(path: Path, start: int) -> str:
    """The last line of a file after its first `start` bytes, shortened; "" without one."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            # A log that was rotated meanwhile begins anew.
            log.seek(max(start if start <= size else 0, size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    line = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"


def open_log(path: Path) -> BinaryIO:
    """Open for appending, for the owner only: a log of a failure may quote what the program read."""
    log = os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
    os.fchmod(log.fileno(), 0o600)
    return log


def rotate_log(path: Path, most_bytes: int = MOST_LOG_BYTES) -> None:
    """Move the content of a log that has grown too long to `<path>.1`, in place of what is there.

    The program writes on to the same file: it is open for appending. Without space for a copy, it is left as it is.
    """
    with suppress(OSError):
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
