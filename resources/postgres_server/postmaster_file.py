"""The file that names the process of a Postgres server (`postmaster.pid`), which a killed server leaves behind."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_STATUS_LINE = 7


@dataclass(frozen=True)
class PostmasterFile:
    """The file of the server of one data folder; `mounted` is where a server in its own mount namespace sees it."""

    folder: Path
    mounted: Path

    @property
    def ready_pid(self) -> int | None:
        """The id of the server's process; None unless the server accepts connections."""
        try:
            lines = self._path.read_text().split("\n")
            # The last line is written when the server accepts connections.
            is_ready = len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"
            return int(lines[0]) if is_ready and self._is_server(int(lines[0])) else None
        except (OSError, ValueError):
            return None

    def disown(self) -> None:
        """Let a server start although the id in the file of a killed one belongs to another process now.

        Postgres takes the id of the process that starts it for an old one, and still finds the processes that the
        killed server left by the rest of the file.
        """
        with suppress(FileNotFoundError, ValueError):
            pid, _, rest = self._path.read_text().partition("\n")
            if not self._is_server(int(pid)):
                with self._path.open("r+") as file:
                    file.write(f"{os.getpid()}\n{rest}")
                    file.truncate()

    @property
    def _path(self) -> Path:
        return self.folder / "postmaster.pid"

    def _is_server(self, pid: int) -> bool:
        """Whether a process is the server of this folder: after a crash or a reboot, any other may have its id."""
        try:
            arguments = psutil.Process(pid).cmdline()
            place = Path(arguments[arguments.index("-D") + 1])
            return place == self.mounted or place.samefile(self.folder)
        except (OSError, ValueError, IndexError, psutil.Error):
            return False
