"""The sandboxes of agents: that of the local provider, with more of the host's files and two sockets.

An agent sees `/usr`, its own program, a private home, the working directory and `/run/sisu` with the sockets of its
model and of the tool that takes its plan. It has no network, no file of the host and no variable of this process.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import socket
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path

from resources.planner.acp.agent_errors import AgentFailure, FailureCode
from resources.planner.acp.agent_settings import AgentSettings
from resources.planner.acp.box.agent_process import AgentBounds, AgentProcess
from resources.planner.acp.box.agent_profiles import INNER_HOME, MODEL_PORT, Profile, profile_of
from resources.sandbox.local.isolation import bwrap
from resources.sandbox.local.isolation.bwrap import BOX_PYTHON, BOX_WORK
from resources.sandbox.local.isolation.file_tree import remove_empty_file, remove_tree
from resources.sandbox.local.isolation.unix_socket import INNER_RELAY, INNER_RUN, RELAY, listen
from resources.sandbox.local.sandbox_host import Host, LocalSettings, at_most_ours
from resources.sandbox.local.spawn_client import Launch
from resources.sandbox.local.user_slots import Slot
from resources.sandbox.sandbox_port import SandboxUnavailable

_MOST_PROCESSES = 1024
_MIB = 1024 * 1024
_SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Folders:
    """The folders of one sandbox on the host: the agent's working directory, its home, and the sockets."""

    root: Path
    work: Path
    home: Path
    run: Path


@dataclass(frozen=True)
class Box:
    """A prepared sandbox: its folders, and the two listening sockets that its agent reaches."""

    folders: Folders
    model: socket.socket
    plan: socket.socket
    slot: Slot
    name: str


class AgentBoxes:
    """The sandboxes of one agent program. Belongs to one event loop at a time."""

    def __init__(
        self, settings: AgentSettings, host: Host, program: str, shared: dict[str, str], profile: Profile
    ) -> None:
        self._settings = settings
        self._host = host
        self._program = program
        self._shared = shared
        self._profile = profile

    @classmethod
    def open(cls, settings: AgentSettings) -> "AgentBoxes":
        """Find the agent's program and open what all its sandboxes share.

        Raises AgentFailure when the program is missing or cannot use the model's API, or SandboxUnavailable.
        """
        program, paths = find_program(settings)
        profile = profile_of(settings)
        shared = {f"path{number}": str(path) for number, path in enumerate(paths)}
        host = Host.open(
            LocalSettings(home=settings.home, runtime=settings.runtime, remembers_interrupted=False),
            {**shared, "relay": str(RELAY)},
        )
        return cls(settings, host, program, shared, profile)

    def close(self) -> None:
        """End all sandboxes and remove their folders."""
        self._host.close()

    @contextlib.asynccontextmanager
    async def prepare(self, key: str) -> AsyncIterator[Box]:
        """A sandbox with an empty working directory, removed at the end of the block."""
        async with self._host.slots.lease() as slot:
            name = self._host.new_box(key)
            folders = await asyncio.to_thread(self._make_folders, name, slot)
            sockets: list[socket.socket] = []
            try:
                for kind in ("model", "plan"):
                    sockets.append(listen(folders.run, f"{kind}.sock", slot))
                yield Box(folders, sockets[0], sockets[1], slot, name)
            finally:
                for each in sockets:
                    each.close()
                await asyncio.shield(asyncio.to_thread(remove_tree, folders.root))

    def give(self, box: Box) -> None:
        """Make the sandbox's user the owner of everything in its working directory."""
        if os.getuid() != 0:
            return
        for folder, names, files in os.walk(box.folders.work):
            for name in (".", *names, *files):
                os.chown(Path(folder, name), box.slot.uid, box.slot.gid, follow_symlinks=False)

    @contextlib.asynccontextmanager
    async def start(
        self, box: Box
    ) -> AsyncIterator[tuple[AgentProcess, asyncio.StreamReader, asyncio.StreamWriter]]:
        """Start the agent and end it with the block. Raises AgentFailure."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        try:
            pipes, spawner = self._host.start(self._launch(box), read_end)
        except (OSError, SandboxUnavailable) as error:
            os.close(write_end)
            raise AgentFailure(FailureCode.BOX, f"the agent's sandbox cannot start: {error}") from error
        finally:
            os.close(read_end)
        bounds = AgentBounds(self._settings.memory_mb, self._settings.disk_mb, box.folders.root)
        process = AgentProcess(pipes, spawner, self._host.mark(box.name), bounds)
        reader, writer = await process.connect(write_end)
        try:
            yield process, reader, writer
        finally:
            await _finished(process.end())
            writer.close()
            self._remove_mount_points(box.folders.work)

    def _remove_mount_points(self, work: Path) -> None:
        """Remove the empty files that bubblewrap made in the working directory: the agent did not make them.

        They are there when a path that the sandbox shows is below `/work` on the host too.
        """
        for path in (Path(path) for path in self._shared.values()):
            if path.is_relative_to(BOX_WORK):
                remove_empty_file(work, path.relative_to(BOX_WORK).as_posix())

    @property
    def plan_server(self) -> tuple[str, list[str]]:
        """The command and the arguments by which an agent inside starts the tool's server."""
        return self._python, ["-I", "-S", INNER_RELAY, "stdio", f"{INNER_RUN}/plan.sock"]

    @property
    def _python(self) -> str:
        if self._host.layout.sources.python is not None:
            return f"{BOX_PYTHON}/bin/python3"
        return shutil.which("python3", path=_SEARCH_PATH) or "/usr/bin/python3"

    def _make_folders(self, name: str, slot: Slot) -> Folders:
        root = self._host.layout.boxes / name
        folders = Folders(root, root / "work", root / "home", root / "run")
        for folder in (folders.root, folders.work, folders.home, folders.run, folders.home / "tmp"):
            folder.mkdir(mode=0o700)
            _own(folder, slot)
        for path, text in self._profile.files.items():
            file = folders.home / path
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.write_text(text)
            for each in (file.parent, file):
                _own(each, slot)
        return folders

    def _launch(self, box: Box) -> Launch:
        seen = f"{self._host.layout.boxes_seen}/{box.name}"
        mounts = [
            *("--bind", f"{seen}/home", INNER_HOME, "--ro-bind", f"{seen}/run", INNER_RUN),
            *("--ro-bind", self._host.layout.shared["relay"], INNER_RELAY),
        ]
        for name, path in self._shared.items():
            mounts += ["--ro-bind", self._host.layout.shared[name], path]
        relay = [self._python, "-I", "-S", INNER_RELAY, "run", str(MODEL_PORT), f"{INNER_RUN}/model.sock"]
        command = shlex.join([*relay, self._program, *self._settings.argv[1:]])
        return Launch(
            bwrap=self._host.layout.bwrap,
            options=bwrap.options(
                self._host.layout.sources, f"{seen}/work", BOX_WORK, dict(self._profile.environment), mounts=mounts
            ),
            command=bwrap.command(command, _MOST_PROCESSES, self._host.mark(box.name)),
            seccomp=self._host.seccomp,
            uid=box.slot.uid,
            gid=box.slot.gid,
            limits=self._limits(),
        )

    def _limits(self) -> dict[str, int]:
        """Coarse limits behind those of the memory watch and of the clock; address space is only reserved."""
        wanted = {
            "RLIMIT_CORE": 0,
            "RLIMIT_CPU": int(self._settings.wall_s + 60) * (os.cpu_count() or 1),
            "RLIMIT_FSIZE": self._settings.disk_mb * _MIB,
            "RLIMIT_MEMLOCK": 64 * 1024,
            "RLIMIT_MSGQUEUE": 0,
            "RLIMIT_NOFILE": 8192,
            "RLIMIT_RTPRIO": 0,
        }
        return {name: at_most_ours(name, limit) for name, limit in wanted.items()}


def find_program(settings: AgentSettings) -> tuple[str, list[Path]]:
    """The agent's program as its sandbox sees it, and what of the host the sandbox shows for it.

    Raises AgentFailure when it is not there.
    """
    missing = [path for path in settings.paths if not path.exists()]
    if missing:
        raise AgentFailure(
            FailureCode.MISSING, f"{missing[0]} of OC_AGENT_PATHS does not exist: correct the setting"
        )
    name = settings.argv[0]
    paths = [path.absolute() for path in settings.paths]
    if any(Path(name).is_relative_to(path) for path in paths):
        return name, paths
    if "/" not in name and shutil.which(name, path=_SEARCH_PATH):
        return name, paths
    found = shutil.which(name)
    if found is None:
        raise AgentFailure(
            FailureCode.MISSING,
            f"the agent {name!r} of OC_AGENT was not found: install it, or set OC_AGENT to the path of its program",
        )
    real = Path(found).resolve()
    if real.is_relative_to("/usr"):
        return str(real), paths
    return str(real), [*paths, real]


def _own(path: Path, slot: Slot) -> None:
    if os.getuid() == 0:
        os.chown(path, slot.uid, slot.gid, follow_symlinks=False)


async def _finished(work: Coroutine[object, object, None]) -> None:
    """Finish `work` even if canceled meanwhile; the cancellation continues afterwards."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
