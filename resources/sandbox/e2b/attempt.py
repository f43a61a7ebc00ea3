"""One request at E2B, from its input files to the end of its sandbox."""

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import PurePosixPath

from resources.sandbox import evidence
from resources.sandbox.attempts_in_flight import Running
from resources.sandbox.e2b import runner_script
from resources.sandbox.e2b.account import Account
from resources.sandbox.e2b.create_quota import Quota
from resources.sandbox.e2b.e2b_settings import E2bSettings
from resources.sandbox.e2b.leftover_cleanup import Sweeper
from resources.sandbox.e2b.provider_errors import Failed
from resources.sandbox.e2b.provider_retry import uninterrupted
from resources.sandbox.e2b.remote_command import Execution, OutOfTime
from resources.sandbox.e2b.result_collection import collect
from resources.sandbox.e2b.sandbox_start import Boot, SandboxStart
from resources.sandbox.input_files import UploadFailed, check_sizes, executables, fetch_files
from resources.sandbox.output_capture import Output
from resources.sandbox.output_files import NO_FILES, Collected
from resources.sandbox.request_checks import check_request, safe_relative_path
from resources.sandbox.run_trees import RunTrees
from resources.sandbox.sandbox_port import ChunkSink, RequestRefused, TaskContext, UriResolver
from sisu_pipeline.contracts.sandbox_request import ErrorCode, Metrics, SandboxRequest, SandboxResult

_MOST_INPUT_BYTES = 512 * 1024 * 1024
_BOOT_ALLOWANCE_S = 180
_AGAIN_S = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AttemptResources:
    """Dependencies that all attempts of one provider share."""

    settings: E2bSettings
    account: Account
    quota: Quota
    sweeper: Sweeper
    resolve_uri: UriResolver | None
    trees: RunTrees


class Attempt:
    """One request and its phases: boot, run, collect, kill."""

    def __init__(
        self, resources: AttemptResources, request: SandboxRequest, context: TaskContext, on_chunk: ChunkSink
    ) -> None:
        self._resources = resources
        self._request = request
        self._context = context
        self._on_chunk = on_chunk
        self._output = Output(on_chunk)
        self._boot: Boot | None = None
        self._began = time.monotonic()
        self._streams = 0

    async def run_until_killed(self, running: Running) -> SandboxResult:
        """The result, also after a kill request. When canceled, first kills the sandbox."""
        work = asyncio.ensure_future(self._run())
        asked = asyncio.ensure_future(running.kill_asked.wait())
        try:
            await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            await uninterrupted(_stopped(work))
            return self._ended(ErrorCode.CMD_NONZERO, evidence.KILLED_EXIT, killed_by="request")
        finally:
            asked.cancel()
            await uninterrupted(_stopped(work))

    async def _run(self) -> SandboxResult:
        try:
            directory, files = await self._prepare()
            tree = await self._resources.trees.folder_of(self._request, self._context)
            package = await asyncio.to_thread(
                runner_script.package,
                *(self._request.cmd, self._request.env, directory, files, executables(self._request), tree),
            )
            async with self._resources.quota.sandbox():
                return await self._in_sandbox(package, directory, files)
        except RequestRefused as reason:
            result = evidence.refused("e2b", self._request, self._context, reason)
            evidence.replay_output(result, self._on_chunk)
            return result
        except UploadFailed as error:
            return self._failed(ErrorCode.UPLOAD_FAIL, str(error))
        except Failed as failed:
            return self._failed(failed.err_code, str(failed), failed)
        except Exception as error:
            # Any other error is the provider's, not the task's: a typed failure that is retried.
            _log.exception("task %s could not be run", self._request.task_key)
            return self._failed(ErrorCode.BOOT_FAIL, f"{type(error).__name__}: {error}")

    async def _prepare(self) -> tuple[PurePosixPath, dict[str, bytes]]:
        """The working directory and the input files' content. Raises RequestRefused and UploadFailed."""
        request = self._request
        check_request(request, self._context)
        if request.setup is not None:
            raise RequestRefused(
                "SETUP_NOT_SUPPORTED", "the e2b provider executes no prepare command; use a template"
            )
        check_sizes(request)
        directory = PurePosixPath()
        if request.workdir not in (None, "."):
            directory = safe_relative_path(str(request.workdir))
        return directory, await fetch_files(request, _MOST_INPUT_BYTES, self._resources.resolve_uri)

    async def _in_sandbox(self, package: bytes, directory: PurePosixPath, files: dict[str, bytes]) -> SandboxResult:
        settings = self._resources.settings
        life_s = min(self._request.timeout_ms // 1000 + _BOOT_ALLOWANCE_S, settings.longest_life_s)
        boot = self._boot = await SandboxStart(
            self._resources.account, self._resources.quota, self._request, self._context, life_s
        ).boot()
        sandbox_id = boot.sandbox.sandbox_id
        try:
            with self._resources.sweeper.keeps(sandbox_id):
                return await self._executed(boot, package, directory, files)
        finally:
            await uninterrupted(self._clean_up(sandbox_id, boot.has_ghosts))

    async def _executed(
        self, boot: Boot, package: bytes, directory: PurePosixPath, files: dict[str, bytes]
    ) -> SandboxResult:
        execution = Execution(
            boot.sandbox, self._output, self._request.timeout_ms, self._resources.settings.check_s
        )
        try:
            ending = await execution.run(package, is_new=boot.how == "created")
        except OutOfTime:
            return self._ended(ErrorCode.TIMEOUT, evidence.TIMEOUT_EXIT, killed_by="timeout", metrics=self._used())
        finally:
            self._began = execution.began_at
            self._streams = execution.streams
        metrics = Metrics(wall_ms=ending.wall_ms, cpu_ms=ending.cpu_ms, mem_peak_mb=0)
        if ending.oom_kills > 0 and ending.exit_code == evidence.KILLED_EXIT:
            return self._ended(ErrorCode.OOM, ending.exit_code, killed_by="memory", metrics=metrics)
        err_code = ErrorCode.CMD_NONZERO if ending.exit_code else ErrorCode.NONE
        collected = await collect(boot.sandbox, ending.left, directory, files)
        return self._ended(err_code, ending.exit_code, collected=collected, metrics=metrics)

    async def _clean_up(self, sandbox_id: str, has_ghosts: bool) -> None:
        """Kill the sandbox, and any other that a creation without reply may have left for this task."""
        await self._resources.sweeper.kill(sandbox_id)
        if has_ghosts:
            await self._resources.sweeper.reap(self._request.task_key)

    def _failed(self, err_code: ErrorCode, message: str, failed: Failed | None = None) -> SandboxResult:
        """The result of an attempt whose command did not finish because of the infrastructure."""
        self._output.feed("stderr", f"{message}\n".encode())
        lost = None if failed is None else {"phase": str(failed.phase), "cause": str(failed.cause)}
        return self._ended(err_code, 1, metrics=self._used(), lost=lost)

    def _used(self) -> Metrics:
        return Metrics(wall_ms=round((time.monotonic() - self._began) * 1000), cpu_ms=0, mem_peak_mb=0)

    def _ended(
        self,
        err_code: ErrorCode,
        exit_code: int,
        *,
        killed_by: str | None = None,
        collected: Collected = NO_FILES,
        metrics: Metrics = evidence.NOTHING_USED,
        lost: dict[str, str] | None = None,
    ) -> SandboxResult:
        boot = self._boot
        raw = evidence.base_raw("e2b", self._request, self._context, boot.boot_ms if boot else 0)
        raw["limits"] = {"cpu": "template", "memory": "template", "net": "e2b"}
        raw["output"] = self._output.evidence()
        if boot is not None:
            raw["sandbox"] = {"how": boot.how, "creates": boot.creates, "streams": self._streams}
        optional = {"killedBy": killed_by, "lost": lost, "filesOut": collected.evidence or None}
        raw |= {name: value for name, value in optional.items() if value is not None}
        return evidence.ended(
            self._request,
            err_code=err_code,
            exit_code=exit_code,
            sandbox_ref=boot.sandbox.sandbox_id if boot else "e2b-none",
            raw=raw,
            stdout=self._output.text("stdout"),
            stderr=self._output.text("stderr"),
            files_out=collected.files,
            metrics=metrics,
        )


async def _stopped(work: asyncio.Future[SandboxResult]) -> None:
    """Cancel until it is done: a call in it may mistake a cancellation for an error of its own."""
    while not work.done():
        work.cancel()
        await asyncio.wait({work}, timeout=_AGAIN_S)
