"""What a stopped stack must not leave behind: processes, sockets, and sandboxes of agents."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from sisu_pipeline.proof.harness import stack_processes

_EXIT_TIMEOUT_S = 10.0


def of_stopped_stack(home: Path) -> list[str]:
    """Descriptions of everything that is left ten seconds after the stack with this data folder was stopped."""
    _, alive = psutil.wait_procs(stack_processes.of_path(home), timeout=_EXIT_TIMEOUT_S)
    return [*map(str, alive), *sockets(home), *agent_folders(home)]


def sockets(home: Path) -> Iterator[str]:
    """Unix sockets anywhere below the data folder."""
    for folder, _, names in os.walk(home):
        for name in names:
            path = Path(folder, name)
            with suppress(FileNotFoundError):
                if stat.S_ISSOCK(path.lstat().st_mode):
                    yield f"socket {path.relative_to(home)}"


def agent_folders(home: Path) -> Iterator[str]:
    """Working directories of agents with their locks, and marks of those whose worker died."""
    for name in ("boxes", "interrupted"):
        folder = home / "agents" / name
        if folder.is_dir():
            yield from (f"folder {path.relative_to(home)}" for path in sorted(folder.iterdir()))
