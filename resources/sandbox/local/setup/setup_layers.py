"""The layers of setups: which files a command sees, by which name its result is found, and who shares it."""

import asyncio
import os
import platform
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from resources.sandbox.local.isolation.file_tree import TreeTooLarge, open_beneath, open_folder, walk
from resources.sandbox.local.launch_plan import Plan
from resources.sandbox.local.root_layout import interpreter_prefix
from resources.sandbox.local.sandbox_host import Host
from resources.sandbox.local.setup.layer_cache import LayerCache
from resources.sandbox.local.setup.prepare_command import PrepareFailed, prepare
from resources.sandbox.sandbox_port import RequestRefused, SetupFailed, SetupReport, TaskContext
from sisu_pipeline.contracts.sandbox_request import Mode, SandboxRequest
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.changes.declared_setup import SetupOrder
from sisu_pipeline.domain.changes.file_diff import FileState

_MOST_BYTES = 256 * 1024 * 1024
_MOST_RUNS = 256


@dataclass(frozen=True)
class Layer:
    """The folder that a setup's command left, and how this process came to it for the run."""

    folder: Path
    report: SetupReport


@dataclass
class _Known:
    """What this process knows of the setup of a run; `report` is None until a task of the run has found it."""

    layer: str
    report: SetupReport | None = None


class SetupLayers:
    """The layers of this machine, for the tasks of one process. Belongs to one event loop at a time."""

    def __init__(self, host: Host, quota_mb: int) -> None:
        self._host = host
        self._cache = LayerCache(host.layout.setups, quota_mb)
        self._known: dict[tuple[str, str], asyncio.Future[_Known]] = {}

    @asynccontextmanager
    async def layer_of(
        self, request: SandboxRequest, context: TaskContext, plan: Plan
    ) -> AsyncIterator[Layer | None]:
        """The layer of a request, prepared unless it is there; None without a setup.

        It stays for the duration of the block. Raises RequestRefused, SetupFailed, or OSError.
        """
        order = context.setup
        if request.setup is None or order is None:
            yield None
            return
        if not self._host.can_layer:
            raise RequestRefused(
                "SETUP_NOT_SUPPORTED",
                "the kernel of this machine cannot mount the result of a setup below a working folder "
                "(`sisu doctor`: treesOfRuns); use a newer kernel, or a worker that is not root in a container",
            )
        known = await self._known_of(context.run_id, order, plan)

        async def make(target: Path) -> int:
            files = await asyncio.to_thread(_lock_files, order.setup.lock_files, plan)
            try:
                prepared = await prepare(self._host, order.setup, files, target)
            except PrepareFailed as failure:
                report = SetupReport(known.layer, "failed", failure.exit_code, failure.wall_ms)
                raise SetupFailed(f"the prepare command of inputs.setup failed: {failure}", report) from None
            known.report = SetupReport(known.layer, "prepared", 0, prepared.wall_ms)
            return prepared.size

        async with self._cache.use(_folder_name(known.layer, order.tenant), make) as folder:
            if known.report is None:
                known.report = SetupReport(known.layer, "cached")
            yield Layer(folder, known.report)

    async def stop(self) -> None:
        """Kill the commands that are running; the tasks that wait for them are canceled."""
        await self._cache.stop()

    async def _known_of(self, run_id: str, order: SetupOrder, plan: Plan) -> _Known:
        """The layer of a run's setup, computed once for all of its tasks."""
        key = (run_id, order.sha256)
        reading = self._known.get(key)
        if reading is None:
            reading = asyncio.ensure_future(asyncio.to_thread(_read, order, plan))
            self._known[key] = reading
            while len(self._known) > _MOST_RUNS:
                self._known.pop(next(iter(self._known)))
        try:
            return await asyncio.shield(reading)
        except Exception:
            self._known.pop(key, None)
            raise


def _read(order: SetupOrder, plan: Plan) -> _Known:
    return _Known(order.layer_sha256(_lock_files(order.setup.lock_files, plan)))


def _folder_name(layer: str, tenant: str | None) -> str:
    """The name of a layer's folder: tenants share none, and neither do systems that run commands differently."""
    system = Path("/etc/os-release")
    return sha256_json(
        {
            "layer": layer,
            "tenant": tenant,
            "machine": platform.machine(),
            "system": system.read_text() if system.exists() else platform.platform(),
            "python": None if interpreter_prefix() is None else sys.version,
        }
    )


def _lock_files(names: list[str], plan: Plan) -> dict[str, FileState]:
    """The lock files of a plan's workspace, by path. Raises SetupFailed."""
    files: dict[str, FileState] = {}
    for name in names:
        found = dict(_of_plan(name, plan) if plan.tree is None else _of_tree(name, plan.tree))
        if not found:
            raise SetupFailed(
                f"inputs.setup names the lock file {name}, which the workspace of the plan does not have"
            )
        files |= found
    if sum(len(state.content) for state in files.values()) > _MOST_BYTES:
        raise SetupFailed(f"the lock files of inputs.setup have more than {_MOST_BYTES} bytes: name fewer of them")
    return files


def _of_plan(name: str, plan: Plan) -> Iterator[tuple[str, FileState]]:
    for path, content in plan.files.items():
        if path == name or (name.endswith("/") and path.startswith(name)):
            yield path, FileState(content, "100755" if path in plan.executables else "100644")


def _of_tree(name: str, tree: Path) -> Iterator[tuple[str, FileState]]:
    """A file of a tree, or all below a folder. Links are left out: they are not followed."""
    root = open_folder(tree)
    try:
        parts = tuple(name.removesuffix("/").split("/"))
        with suppress(FileNotFoundError, NotADirectoryError, TreeTooLarge):
            if not name.endswith("/"):
                yield from _regular(name, open_beneath(root, parts, os.O_RDONLY | os.O_NONBLOCK))
                return
            folder = open_beneath(root, parts, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for entry in walk(folder):
                    if stat.S_ISREG(entry.stat.st_mode):
                        inner = tuple(entry.path.split("/"))
                        yield from _regular(
                            f"{name}{entry.path}", open_beneath(folder, inner, os.O_RDONLY | os.O_NONBLOCK)
                        )
            finally:
                os.close(folder)
    finally:
        os.close(root)


def _regular(path: str, descriptor: int) -> Iterator[tuple[str, FileState]]:
    with closing(os.fdopen(descriptor, "rb")) as file:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            mode: Mode = "100755" if found.st_mode & stat.S_IXUSR else "100644"
            yield path, FileState(file.read(_MOST_BYTES + 1), mode)
