"""The command of a setup in a sandbox of its own, and the folder that it leaves.

The command sees the lock files of its setup in the working folder, and nothing else of the workspace, so what it
leaves depends only on what names the layer. `/tmp` is on the disk, with as much room as the setup permits.
"""

import asyncio
import os
import shlex
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from resources.sandbox.local.isolation import bwrap
from resources.sandbox.local.isolation.bwrap import BOX_PYTHON, BOX_WORK
from resources.sandbox.local.isolation.cgroup import Cgroup
from resources.sandbox.local.isolation.disk_limit import used_bytes
from resources.sandbox.local.isolation.file_tree import remove_tree
from resources.sandbox.local.isolation.unix_socket import INNER_RELAY, INNER_RUN, listen
from resources.sandbox.local.local_command import Bounds, CommandEnd, Execution, in_thread
from resources.sandbox.local.sandbox_host import Host
from resources.sandbox.local.setup import host_proxy
from resources.sandbox.local.setup.host_proxy import HostProxy
from resources.sandbox.local.spawn_client import Launch
from resources.sandbox.local.task_folder import place_files
from resources.sandbox.local.user_slots import Slot
from resources.sandbox.output_capture import Output
from sisu_pipeline.contracts.planned_work import PlannedSetup
from sisu_pipeline.domain.changes.file_diff import FileState

MOST_FILES = 500_000
"""Most files that a command may leave; packages have many small ones."""

_MIB = 1024 * 1024
_TAIL = 2000
_SOCKET = "hosts.sock"
_NO_SPECIAL_BITS = 0o755


@dataclass(frozen=True)
class Prepared:
    """A layer that was made: the duration of the command, and the size of what it left."""

    wall_ms: int
    size: int


class PrepareFailed(Exception):
    """The command failed. `exit_code` is None when it was killed. The message is a sentence."""

    def __init__(self, message: str, exit_code: int | None, wall_ms: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.wall_ms = wall_ms


async def prepare(host: Host, setup: PlannedSetup, files: Mapping[str, FileState], target: Path) -> Prepared:
    """Execute the command and rename what it leaves to `target`.

    Raises PrepareFailed, or OSError when the sandbox could not be started.
    """
    async with host.slots.lease() as slot:
        box = host.new_box(target.name)
        attempt = _Attempt(host, setup, slot, box)
        try:
            await in_thread(lambda: attempt.place(files))
            ending, output = await attempt.execute()
            attempt.check(ending, output)
            return Prepared(ending.wall_ms, await in_thread(lambda: attempt.keep(target)))
        finally:
            await in_thread(attempt.clean_up)


class _Attempt:
    def __init__(self, host: Host, setup: PlannedSetup, slot: Slot, box: str) -> None:
        self._host = host
        self._setup = setup
        self._slot = slot
        self._box = box
        self._root = host.layout.boxes / box
        self._work, self._temporary, self._run = (self._root / name for name in ("work", "tmp", "run"))
        self._cgroup: Cgroup | None = None

    def place(self, files: Mapping[str, FileState]) -> None:
        """Create the folders of the sandbox, with the lock files. Raises OSError."""
        for folder in (self._root, self._temporary):
            folder.mkdir(mode=0o700)
            _own(folder, self._slot)
        contents = {path: state.content for path, state in files.items()}
        executables = frozenset(path for path, state in files.items() if state.mode == "100755")
        place_files(self._work, PurePosixPath(), contents, self._slot, executables)

    async def execute(self) -> tuple[CommandEnd, Output]:
        """Run the command to its end. Raises OSError."""
        setup, host = self._setup, self._host
        if host.cgroup_parent is not None:
            name = f"{host.instance.boxes.name}-{self._box}"
            self._cgroup = Cgroup.create(host.cgroup_parent, name, memory_mb=setup.mem_mb, cpu=setup.cpu)
        output = Output(lambda chunk: None)
        bounds = Bounds(setup.timeout_ms, setup.mem_mb, setup.disk_mb * _MIB, self._root, MOST_FILES)
        async with self._network():
            pipes, spawner = host.start(self._launch())
            execution = Execution(pipes, output, spawner, host.mark(self._box))
            return await execution.supervise(bounds, asyncio.Event()), output

    @asynccontextmanager
    async def _network(self) -> AsyncIterator[None]:
        """The proxy to the hosts that the plan names, if any."""
        if not self._setup.hosts:
            yield
            return
        self._run.mkdir(mode=0o700)
        _own(self._run, self._slot)
        with listen(self._run, _SOCKET, self._slot) as listener:
            async with HostProxy(self._setup.hosts).serve(listener):
                yield

    def _launch(self) -> Launch:
        host, setup = self._host, self._setup
        seen = f"{host.layout.boxes_seen}/{self._box}"
        return Launch(
            bwrap=host.layout.bwrap,
            options=bwrap.options(
                host.layout.sources,
                f"{seen}/work",
                BOX_WORK,
                self._environment(),
                mounts=[
                    *("--bind", f"{seen}/tmp", "/tmp"),  # noqa: S108 - inside the sandbox
                    *(self._network_mounts(seen) if setup.hosts else ()),
                ],
                has_setup=True,
            ),
            command=bwrap.command(self._command(), host.settings.most_processes, host.mark(self._box)),
            seccomp=host.seccomp,
            uid=self._slot.uid,
            gid=self._slot.gid,
            limits=host.limits(setup.timeout_ms, setup.mem_mb, setup.disk_mb),
            cgroup=None if self._cgroup is None else str(self._cgroup.path),
        )

    def _network_mounts(self, seen: str) -> list[str]:
        shared = self._host.layout.shared
        mounts = ["--ro-bind", f"{seen}/run", INNER_RUN, "--ro-bind", shared["relay"], INNER_RELAY]
        if "certificates" in shared:
            mounts += ["--ro-bind", shared["certificates"], host_proxy.INNER_CERTIFICATES]
        return mounts

    def _environment(self) -> dict[str, str]:
        if not self._setup.hosts:
            return {}
        return host_proxy.environment(has_certificates="certificates" in self._host.layout.shared)

    def _command(self) -> str:
        if not self._setup.hosts:
            return self._setup.command
        python = "python3" if self._host.layout.sources.python is None else f"{BOX_PYTHON}/bin/python3"
        relay = [python, "-I", "-S", INNER_RELAY, "run", str(host_proxy.PORT), f"{INNER_RUN}/{_SOCKET}"]
        return shlex.join([*relay, "/bin/sh", "-c", self._setup.command])

    def check(self, ending: CommandEnd, output: Output) -> None:
        """Raise PrepareFailed unless the command succeeded, or OSError when it never ran."""
        setup = self._setup
        is_out_of_memory = self._cgroup is not None and self._cgroup.was_out_of_memory()
        if ending.reason in ("boot", "spawner") or (ending.exit_code is None and ending.reason is None):
            raise OSError(f"the sandbox of the setup could not be started: {ending.problem}")
        if ending.reason == "memory" or is_out_of_memory:
            raise PrepareFailed(f"it used more than {setup.mem_mb} MiB of memory", None, ending.wall_ms)
        if ending.reason == "timeout":
            raise PrepareFailed(f"it took longer than {setup.timeout_ms} ms", None, ending.wall_ms)
        if ending.reason == "disk":
            limits = f"{setup.disk_mb} MiB or {MOST_FILES} files"
            raise PrepareFailed(f"it wrote more than {limits}", None, ending.wall_ms)
        if ending.exit_code != 0:
            tail = output.text("stderr").strip()[-_TAIL:] or output.text("stdout").strip()[-_TAIL:]
            raise PrepareFailed(
                f"it ended with exit code {ending.exit_code}: {tail or 'no output'}",
                ending.exit_code,
                ending.wall_ms,
            )

    def keep(self, target: Path) -> int:
        """Rename what the command left to `target`; returns its size. No process may still run in it."""
        size = used_bytes(self._work, most_entries=MOST_FILES)
        _give_to_worker(self._work)
        os.sync()  # the name must not survive a power failure that the content does not
        self._work.rename(target)
        return size

    def clean_up(self) -> None:
        """Remove the folders and the group of the sandbox."""
        if self._root.exists():
            remove_tree(self._root)
        if self._cgroup is not None:
            self._cgroup.remove()


def _give_to_worker(folder: Path) -> None:
    """Make the worker's user the owner of a tree, without sockets, pipes and bits that give privileges."""
    _normalize(folder)
    for parent, folders, names in os.walk(folder):
        for name in folders:
            _normalize(Path(parent, name))  # before it is entered
        for name in names:
            _normalize(Path(parent, name))


def _normalize(path: Path) -> None:
    found = path.lstat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        path.unlink()
        return
    if os.getuid() == 0:
        os.chown(path, 0, 0, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        own = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
        path.chmod((found.st_mode & _NO_SPECIAL_BITS) | own)


def _own(path: Path, slot: Slot) -> None:
    if os.getuid() == 0:
        os.chown(path, slot.uid, slot.gid)
