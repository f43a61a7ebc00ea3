"""The local provider: every command in a bubblewrap sandbox of its own on this machine.

It refuses to start where a sandbox does not isolate (`self_test.py`) and never falls back to anything weaker.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from resources.sandbox import evidence
from resources.sandbox.attempts_in_flight import InFlight, Running
from resources.sandbox.input_files import UploadFailed
from resources.sandbox.local.host_instance import HOME_SUFFIX, LAYER_SUFFIX
from resources.sandbox.local.isolation.cgroup import Cgroup
from resources.sandbox.local.isolation.file_tree import remove_tree
from resources.sandbox.local.launch_plan import Plan, plan_request
from resources.sandbox.local.local_command import Bounds, CommandEnd, Execution, in_thread
from resources.sandbox.local.sandbox_host import Host
from resources.sandbox.local.setup.setup_layers import Layer, SetupLayers
from resources.sandbox.local.task_folder import collect_files, place_files
from resources.sandbox.local.tree_layer import copy_tree, place_folder, reader
from resources.sandbox.local.user_slots import Slot
from resources.sandbox.output_capture import Output
from resources.sandbox.output_files import NO_FILES, Collected, OutputLimits
from resources.sandbox.run_trees import RunTrees
from resources.sandbox.sandbox_port import (
    ChunkSink,
    RequestRefused,
    SandboxHealth,
    SetupFailed,
    TaskContext,
    TreeResolver,
    UriResolver,
)
from sisu_pipeline.contracts.sandbox_request import ErrorCode, Metrics, SandboxRequest, SandboxResult

How = Literal["created", "restarted"]
"""`created`: the first execution of the task. `restarted`: a worker and its sandbox died during an earlier one."""

_MIB = 1024 * 1024
_log = logging.getLogger(__name__)


class LocalSandbox:
    """The local provider, opened by `self_test.open_local`. Belongs to one event loop at a time."""

    name = "local"

    def __init__(
        self, host: Host, resolve_uri: UriResolver | None = None, resolve_tree: TreeResolver | None = None
    ) -> None:
        self._host = host
        self._resolve_uri = resolve_uri
        self._trees = RunTrees(host.layout.trees, resolve_tree)
        self._setups = SetupLayers(host, host.settings.setup_cache_mb)
        self._in_flight = InFlight()
        self._output_limits = OutputLimits()

    async def run(self, request: SandboxRequest, context: TaskContext, on_chunk: ChunkSink) -> SandboxResult:
        """See `Sandbox.run`. A request whose idempotency key already runs in this process joins that execution."""
        adopted = await self._in_flight.join(request.task_key, context.idempotency_key)
        if adopted is not None:
            evidence.replay_output(adopted, on_chunk)
            return adopted
        with self._in_flight.enter(request.task_key, context.idempotency_key) as running:
            result = await self._attempt(request, context, on_chunk, running)
            running.outcome.set_result(result)
            return result

    async def adopt(self, task_key: str) -> SandboxResult | None:
        """See `Sandbox.adopt`. Sandboxes end with their worker, so only those of this process can be adopted."""
        return await self._in_flight.adopt(task_key)

    async def kill(self, task_key: str) -> bool:
        """See `Sandbox.kill`."""
        return self._in_flight.kill(task_key)

    async def health(self) -> SandboxHealth:
        """Healthy while sandboxes can be started; `detail` names the mechanism of each limit."""
        return SandboxHealth(
            ok=self._host.spawner.is_running, detail={"provider": self.name, **self._host.describe()}
        )

    async def close(self) -> None:
        """See `Sandbox.close`."""
        await self._setups.stop()
        await self._in_flight.drain()
        await asyncio.to_thread(self._host.close)

    async def _attempt(
        self, request: SandboxRequest, context: TaskContext, on_chunk: ChunkSink, running: Running
    ) -> SandboxResult:
        attempt = _Attempt(self._host, request, context, on_chunk, self._output_limits)
        try:
            plan = await plan_request(request, context, self._host.settings.disk_mb * _MIB, self._resolve_uri)
            plan = replace(plan, tree=await self._trees.folder_of(request, context))
            async with self._setups.layer_of(request, context, plan) as layer, self._host.slots.lease() as slot:
                return await attempt.run(plan, layer, slot, running)
        except SetupFailed:
            raise
        except RequestRefused as reason:
            result = evidence.refused(self.name, request, context, reason)
        except UploadFailed as error:
            result = attempt.failed(ErrorCode.UPLOAD_FAIL, str(error))
        except Exception as error:
            # Any other error is the provider's, not the task's: a typed failure that is retried.
            _log.exception("task %s could not be run", request.task_key)
            result = attempt.failed(ErrorCode.BOOT_FAIL, f"{type(error).__name__}: {error}")
        evidence.replay_output(result, on_chunk)
        return result


class _Attempt:
    """One request and its phases: prepare, run, collect, clean up."""

    def __init__(
        self,
        host: Host,
        request: SandboxRequest,
        context: TaskContext,
        on_chunk: ChunkSink,
        limits: OutputLimits,
    ) -> None:
        self._host = host
        self._request = request
        self._context = context
        self._output = Output(on_chunk)
        self._output_limits = limits
        self._box = host.new_box(request.task_key)
        self._how: How = "created"
        self._work = host.layout.boxes / self._box
        self._home = host.layout.boxes / f"{self._box}{HOME_SUFFIX}"
        self._layer = host.layout.boxes / f"{self._box}{LAYER_SUFFIX}"
        self._cgroup: Cgroup | None = None
        self._found: Layer | None = None

    async def run(self, plan: Plan, layer: Layer | None, slot: Slot, running: Running) -> SandboxResult:
        if layer is not None:
            self._found = layer
            plan = replace(plan, layer=layer.folder)
        try:
            try:
                await in_thread(lambda: self._prepare(plan, slot))
            except OSError as error:
                raise UploadFailed(f"the files could not be placed: {error}") from error
            ending = await self._execute(plan, slot, running)
            return await self._result(plan, ending)
        finally:
            await in_thread(self._clean_up)

    def failed(self, err_code: ErrorCode, stderr: str) -> SandboxResult:
        """The result of an attempt whose command did not finish because of the infrastructure."""
        return evidence.ended(
            self._request,
            err_code=err_code,
            exit_code=1,
            sandbox_ref=self._reference(),
            raw=self._raw(boot_ms=0),
            stderr=stderr,
        )

    def _prepare(self, plan: Plan, slot: Slot) -> None:
        if self._host.instance.was_interrupted(self._request.task_key):
            self._how = "restarted"
        place_folder(self._home, slot)
        if plan.tree is not None and not self._host.can_layer:
            copy_tree(plan.tree, self._work, slot)
            return
        place_files(self._work, plan.directory, plan.files, slot, plan.executables)
        if plan.lower:
            place_folder(self._layer, slot)

    async def _execute(self, plan: Plan, slot: Slot, running: Running) -> CommandEnd:
        limits = self._request.limits
        if self._host.cgroup_parent is not None:
            name = f"{self._host.instance.boxes.name}-{self._box}"
            self._cgroup = Cgroup.create(self._host.cgroup_parent, name, memory_mb=limits.mem_mb, cpu=limits.cpu)
        pipes, spawner = self._host.launch(
            self._request,
            self._box,
            plan.inner_directory,
            slot,
            self._cgroup,
            plan.lower if self._host.can_layer else (),
        )
        bounds = Bounds(
            timeout_ms=self._request.timeout_ms,
            memory_mb=limits.mem_mb,
            disk_bytes=self._host.settings.disk_mb * _MIB,
            work=self._work,
            home=self._home,
        )
        return await Execution(pipes, self._output, spawner, self._host.mark(self._box)).supervise(
            bounds, running.kill_asked
        )

    async def _result(self, plan: Plan, ending: CommandEnd) -> SandboxResult:
        err_code, exit_code, killed_by = self._verdict(ending)
        if err_code is ErrorCode.BOOT_FAIL:
            problem = ending.problem or "the sandbox ended before its command"
            self._output.feed("stderr", problem.encode())
        collected = NO_FILES
        if err_code in (ErrorCode.NONE, ErrorCode.CMD_NONZERO) and killed_by is None:
            try:
                collected = await in_thread(lambda: self._collect(plan))
            except OSError as error:
                err_code = ErrorCode.DOWNLOAD_FAIL
                self._output.feed("stderr", f"the files could not be read: {error}".encode())
        peak_mb = ending.peak_mb if self._cgroup is None else self._cgroup.peak_mb()
        return evidence.ended(
            self._request,
            err_code=err_code,
            exit_code=exit_code,
            sandbox_ref=self._reference(),
            raw=self._raw(ending.boot_ms, killed_by, collected.evidence),
            stdout=self._output.text("stdout"),
            stderr=self._output.text("stderr"),
            files_out=collected.files,
            metrics=Metrics(wall_ms=ending.wall_ms, cpu_ms=ending.cpu_ms, mem_peak_mb=peak_mb),
        )

    def _verdict(self, ending: CommandEnd) -> tuple[ErrorCode, int, str | None]:
        """The errCode, the exit code, and the cause of a kill, if any."""
        if ending.reason == "memory" or (self._cgroup is not None and self._cgroup.was_out_of_memory()):
            return ErrorCode.OOM, evidence.KILLED_EXIT, "memory"
        if ending.reason == "timeout":
            return ErrorCode.TIMEOUT, evidence.TIMEOUT_EXIT, "timeout"
        if ending.reason in ("disk", "request"):
            return ErrorCode.CMD_NONZERO, evidence.KILLED_EXIT, ending.reason
        if ending.reason in ("boot", "spawner") or ending.exit_code is None:
            return ErrorCode.BOOT_FAIL, 1, None
        return (ErrorCode.CMD_NONZERO if ending.exit_code else ErrorCode.NONE), ending.exit_code, None

    def _collect(self, plan: Plan) -> Collected:
        placed: Callable[[str], bytes | None] = plan.files.get
        if plan.tree is not None:
            placed = reader(plan.tree / plan.directory, self._output_limits.bytes_per_file)
        return collect_files(self._work, plan.directory, placed, self._output_limits)

    def _clean_up(self) -> None:
        for folder in (self._work, self._home, self._layer):
            if folder.exists():
                remove_tree(folder)
        if self._cgroup is not None:
            self._cgroup.remove()

    def _reference(self) -> str:
        return f"local-{self._request.task_key[:16]}-{self._context.attempt}"

    def _raw(
        self, boot_ms: int, killed_by: str | None = None, files: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        raw = evidence.base_raw("local", self._request, self._context, boot_ms)
        raw["sandbox"] = {"how": self._how}
        if self._found is not None:
            raw["setup"] = self._found.report.to_json()
        raw["limits"] = self._host.enforcement(self._cgroup)
        raw["output"] = self._output.evidence()
        if killed_by is not None:
            raw["killedBy"] = killed_by
        if files:
            raw["filesOut"] = files
        return raw
