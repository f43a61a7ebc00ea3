"""The mock provider: a small deterministic service that executes a task key once."""

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any

from resources.sandbox import evidence
from resources.sandbox.attempts_in_flight import InFlight, Running
from resources.sandbox.receipts import Receipt, Receipts, ReceiptsUnavailable
from resources.sandbox.request_checks import check_request
from resources.sandbox.sandbox_port import ChunkSink, RequestRefused, SandboxHealth, SetupReport, TaskContext
from sisu_pipeline.contracts.sandbox_request import ErrorCode, FileOut, Metrics, SandboxRequest, SandboxResult
from sisu_pipeline.domain.canonical import sha256_hex, sha256_json

_HOT_BOOT_MS = 5
_COLD_BOOT_MS = 50
_FLAKY_FAILURES = 2
_LONGEST_MS = 2**31 - 1


@dataclass(frozen=True)
class _Behaviour:
    """The simulated behavior of a command. `injected` fails before the execution, so it leaves no receipt."""

    err_code: ErrorCode = ErrorCode.NONE
    stdout: str = ""
    stderr: str = ""
    sandbox_ref: str = "mock-runner"
    duration_ms: int = 0
    wall_ms: int = 1
    injected: bool = False
    marks: dict[str, Any] = field(default_factory=dict)


class MockSandbox:
    """Simulates commands. Equal requests have equal results, byte for byte."""

    name = "mock"

    def __init__(self, receipts: Receipts) -> None:
        self._receipts = receipts
        self._in_flight = InFlight()

    async def run(self, request: SandboxRequest, context: TaskContext, on_chunk: ChunkSink) -> SandboxResult:
        """See `Sandbox.run`."""
        with self._in_flight.enter(request.task_key, context.idempotency_key) as running:
            try:
                check_request(request, context)
                result = await self._execute(request, context, running)
            except RequestRefused as reason:
                result = evidence.refused(self.name, request, context, reason)
            evidence.replay_output(result, on_chunk)
            running.outcome.set_result(result)
            return result

    async def adopt(self, task_key: str) -> SandboxResult | None:
        """See `Sandbox.adopt`. After a crash, `run` with the same idempotency key adopts by its receipt."""
        return await self._in_flight.adopt(task_key)

    async def kill(self, task_key: str) -> bool:
        """See `Sandbox.kill`."""
        return self._in_flight.kill(task_key)

    async def health(self) -> SandboxHealth:
        """Always healthy; a receipt that cannot be written is a BOOT_FAIL of that task."""
        return SandboxHealth(ok=True, detail={"provider": self.name})

    async def close(self) -> None:
        """Kill the simulated executions."""
        await self._in_flight.drain()

    async def _execute(self, request: SandboxRequest, context: TaskContext, running: Running) -> SandboxResult:
        behaviour = _behaviour(request, context.attempt)
        if not behaviour.injected:
            try:
                remaining_ms = await self._start(request, context, behaviour.duration_ms)
            except ReceiptsUnavailable as error:
                return _result(request, context, _boot_failure(str(error)))
            if not await _sleep(remaining_ms, running):
                return _result(request, context, _KILLED)
        return _result(request, context, behaviour)

    async def _start(self, request: SandboxRequest, context: TaskContext, duration_ms: int) -> int:
        """Register the execution and return its remaining milliseconds."""
        payload_hash = sha256_json(request.to_json())
        state = await self._receipts.start(
            Receipt(
                key=request.task_key,
                run_id=context.run_id,
                step_id=context.step_id,
                payload_hash=payload_hash,
                idempotency_key=context.idempotency_key,
                attempt=context.attempt,
                duration_ms=duration_ms,
            )
        )
        if state.payload_hash != payload_hash:
            raise RequestRefused(
                "IDEMPOTENCY_CONFLICT", f"task {request.task_key} was executed with another request"
            )
        return state.remaining_ms


def _boot_failure(stderr: str) -> _Behaviour:
    return _Behaviour(ErrorCode.BOOT_FAIL, stderr=stderr, sandbox_ref="mock-runner-fail", injected=True)


_INJECTED_FAILURE = _Behaviour(
    ErrorCode.BOOT_FAIL,
    stderr="Injected infra failure",
    sandbox_ref="mock-runner-fail",
    injected=True,
    marks={"injected": True},
)
_KILLED = _Behaviour(ErrorCode.CMD_NONZERO, stderr="Killed on request", marks={"mock": True, "killedBy": "request"})


def _behaviour(request: SandboxRequest, attempt: int) -> _Behaviour:
    words = request.cmd.split()
    root = words[0] if words else ""
    if root == "INFRA_FAIL" or (root == "FLAKY_INFRA_FAIL" and attempt <= _FLAKY_FAILURES):
        return _INJECTED_FAILURE
    if root == "FAIL_ME":
        return _Behaviour(ErrorCode.CMD_NONZERO, stderr="Simulated command failure", marks={"injected": True})
    if root == "TIMEOUT_ME":
        return _timeout(request, duration_ms=0)
    duration_ms = _sleep_ms(words) if root == "sleep" else 0
    if duration_ms > request.timeout_ms:
        return _timeout(request, duration_ms=request.timeout_ms)
    return _Behaviour(stdout=f"OK: {request.cmd}\n", duration_ms=duration_ms, marks={"mock": True})


def _setup(context: TaskContext) -> dict[str, Any]:
    """The setup, which is not executed: the simulation does not look at files."""
    if context.setup is None:
        return {}
    return {"setup": SetupReport(context.setup.layer_sha256({}), "simulated").to_json()}


def _timeout(request: SandboxRequest, duration_ms: int) -> _Behaviour:
    return _Behaviour(
        ErrorCode.TIMEOUT,
        stderr="Execution timed out",
        duration_ms=min(duration_ms, _LONGEST_MS),
        wall_ms=request.timeout_ms,
        marks={"injected": True},
    )


def _sleep_ms(words: list[str]) -> int:
    """`sleep SECONDS [anything]` in milliseconds; an argument that sleep(1) would not accept does not wait."""
    try:
        seconds = float(words[1])
    except (IndexError, ValueError):
        return 0
    if not math.isfinite(seconds) or seconds < 0:
        return 0
    return min(math.ceil(seconds * 1000), _LONGEST_MS)


async def _sleep(duration_ms: int, running: Running) -> bool:
    """Sleep; False if the execution was killed meanwhile."""
    if running.kill_asked.is_set():
        return False
    if duration_ms == 0:
        return True
    try:
        await asyncio.wait_for(running.kill_asked.wait(), duration_ms / 1000)
    except TimeoutError:
        return True
    return False


def _result(request: SandboxRequest, context: TaskContext, behaviour: _Behaviour) -> SandboxResult:
    boot_ms = _COLD_BOOT_MS if request.template_id is None else _HOT_BOOT_MS
    succeeded = behaviour.err_code is ErrorCode.NONE
    files = (FileOut(path="out.json", sha256=sha256_hex("{}"), inline="{}"),) if succeeded else ()
    return evidence.ended(
        request,
        err_code=behaviour.err_code,
        exit_code=0 if succeeded else 1,
        sandbox_ref=behaviour.sandbox_ref,
        raw={**evidence.base_raw("mock", request, context, boot_ms), **_setup(context), **behaviour.marks},
        stdout=behaviour.stdout,
        stderr=behaviour.stderr,
        files_out=files,
        metrics=Metrics(wall_ms=behaviour.wall_ms, cpu_ms=1, mem_peak_mb=1),
    )
