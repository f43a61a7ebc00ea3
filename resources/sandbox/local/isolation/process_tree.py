"""Processes held by descriptor: a pid can be reused, a pidfd cannot."""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process by its pid and a descriptor, which guards against reuse of the pid."""

    pid: int
    descriptor: int

    @classmethod
    def open(cls, pid: int, parent: int) -> "Process | None":
        """The process; None if it has ended: a process of that pid with another parent is a different one."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        if _parent_of(pid) != parent:
            os.close(descriptor)
            return None
        return cls(pid, descriptor)

    def kill(self) -> None:
        """Send SIGKILL if it still exists."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)


def kill_marked(mark: str) -> None:
    """Send SIGKILL to every process with the word `mark` on its command line."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


def _parent_of(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])
