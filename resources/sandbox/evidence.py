"""The parts of a task result that all providers share: `raw`, refusals, kills."""

from typing import Any

from resources.sandbox.sandbox_port import Chunk, ChunkSink, RequestRefused, SetupReport, TaskContext
from sisu_pipeline.contracts.sandbox_request import ErrorCode, FileOut, Metrics, SandboxRequest, SandboxResult
from sisu_pipeline.domain.canonical import sha256_json

REFUSED_EXIT = 126
"""Exit of a request that cannot be run here: the shell's "cannot execute". Never retried."""

KILLED_EXIT = 137
"""Exit of a command killed on request or for what it used: 128 + SIGKILL, as a shell reports it."""

TIMEOUT_EXIT = 124
"""Exit of a command that ran out of time, as timeout(1) reports it."""

NOTHING_USED = Metrics(wall_ms=0, cpu_ms=0, mem_peak_mb=0)


def base_raw(provider: str, request: SandboxRequest, context: TaskContext, boot_ms: int) -> dict[str, Any]:
    """The part of `raw` that every provider gives: provider, ctx, template, bootMs (milliseconds)."""
    return {
        "provider": provider,
        "ctx": {"runId": context.run_id, "stepId": context.step_id},
        "template": template(request),
        "bootMs": boot_ms,
    }


def setup_report(result: SandboxResult) -> SetupReport | None:
    """How the setup of a finished task was found; None without one, and for a task that did not get so far."""
    found = (result.raw or {}).get("setup")
    return (
        None if found is None else SetupReport(found["layer"], found["outcome"], found["exitCode"], found["wallMs"])
    )


def template(request: SandboxRequest) -> dict[str, str]:
    """The requested environment: hot when a template id names it, otherwise cold."""
    cold = request.template_id is None
    named: dict[str, str] = {} if request.template_id is None else {"templateId": request.template_id}
    return {
        "source": "cold" if cold else "hot",
        **named,
        "templateKey": request.template_key or f"env:{request.env_ref}",
        "depsHash": request.deps_hash or sha256_json({"envRef": request.env_ref}),
        "envRef": request.env_ref,
    }


def ended(
    request: SandboxRequest,
    *,
    err_code: ErrorCode,
    exit_code: int,
    sandbox_ref: str,
    raw: dict[str, Any],
    stdout: str = "",
    stderr: str = "",
    files_out: tuple[FileOut, ...] = (),
    metrics: Metrics = NOTHING_USED,
) -> SandboxResult:
    """The result of `request`."""
    return SandboxResult(
        exit=exit_code,
        stdout=stdout,
        stderr=stderr,
        files_out=files_out,
        metrics=metrics,
        sandbox_ref=sandbox_ref,
        err_code=err_code,
        task_key=request.task_key,
        raw=raw,
    )


def refused(provider: str, request: SandboxRequest, context: TaskContext, reason: RequestRefused) -> SandboxResult:
    """The result of a request that can never be run.

    Its errCode is CMD_NONZERO, which is final: a retry of a permanent failure only costs time. `raw.refused`
    `{code, message}` distinguishes it from a command that exited with 126.
    """
    raw = base_raw(provider, request, context, boot_ms=0)
    raw["refused"] = {"code": reason.code, "message": str(reason)}
    return ended(
        request,
        err_code=ErrorCode.CMD_NONZERO,
        exit_code=REFUSED_EXIT,
        sandbox_ref=f"{provider}-refused",
        raw=raw,
        stderr=f"{reason.code}: {reason}\n",
    )


def replay_output(result: SandboxResult, on_chunk: ChunkSink) -> None:
    """Pass the whole output of a finished task to the sink, for providers that receive it only at the end."""
    seq = 0
    if result.stdout:
        on_chunk(Chunk("stdout", result.stdout, seq))
        seq += 1
    if result.stderr:
        on_chunk(Chunk("stderr", result.stderr, seq))
