"""`sisu lab e2b-smoke`: run the checks of our test server against the real E2B, or against E2B_API_URL."""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from resources.sandbox.memory_receipts import MemoryReceipts
from resources.sandbox.sandbox_factory import open_sandbox
from resources.sandbox.sandbox_port import Chunk, Sandbox, TaskContext
from sisu_pipeline.contracts.sandbox_request import ErrorCode, FileIn, SandboxRequest, SandboxResult
from sisu_pipeline.proof.harness.lab_stack import LabFailed
from sisu_pipeline.queueing.sandbox_provider import e2b_settings
from sisu_pipeline.settings import Settings, child_environment, settings

Json = dict[str, Any]
Check = Callable[["SmokeRun"], Awaitable[None]]

TEMPLATE = "base"
_TIMEOUT_S = 60.0


class SmokeRun:
    """Run commands at E2B under fresh task keys and collect the results."""

    def __init__(self, configuration: Settings) -> None:
        self.sandbox = open_provider(configuration)
        self.child_environment = child_environment(**_variables(configuration))
        self.results: list[SandboxResult] = []

    def request(self, cmd: str, **fields: Any) -> SandboxRequest:
        """A request with a fresh task key."""
        return SandboxRequest(
            **{
                "env_ref": TEMPLATE,
                "timeout_ms": 60_000,
                "task_key": uuid.uuid4().hex * 2,
                "cmd": cmd,
                **fields,
            }
        )

    async def run(self, request: SandboxRequest, on_chunk: Callable[[Chunk], None] | None = None) -> SandboxResult:
        """Run a request and record its result."""
        context = TaskContext("run_smoke", "ExecuteST", 1, request.task_key)
        result = await self.sandbox.run(request, context, on_chunk or (lambda chunk: None))
        self.results.append(result)
        return result


def expect(what: str, seen: object, expected: object) -> None:
    """Raise LabFailed unless the value is the expected one."""
    if seen != expected:
        raise LabFailed(f"{what}: expected {expected!r}, got {seen!r}")


async def success(smoke: SmokeRun) -> None:
    """A command succeeds; stdout and stderr are captured separately."""
    result = await smoke.run(smoke.request("echo out; echo err >&2"))
    expect("result", (result.err_code, result.stdout, result.stderr), (ErrorCode.NONE, "out\n", "err\n"))


async def failure(smoke: SmokeRun) -> None:
    """A non-zero exit code is the command's failure, not an infrastructure failure."""
    result = await smoke.run(smoke.request("echo 'network timeout' >&2; exit 77"))
    expect("result", (result.err_code, result.exit), (ErrorCode.CMD_NONZERO, 77))


async def files(smoke: SmokeRun) -> None:
    """Text and binary files with unusual names go in and come out."""
    inside = (FileIn(path="a b/ü", inline="text"), FileIn(path="raw", uri="data:x;base64,AP+A"))
    request = smoke.request("cat 'a b/ü' > out; cat raw > \"b\nc\"; ln -s / link", files_in=inside, workdir="w")
    result = await smoke.run(request)
    seen = [(file.path, file.inline or file.uri) for file in result.files_out]
    expect("files", seen, [("b\nc", "data:application/octet-stream;base64,AP+A"), ("out", "text")])


async def environment(smoke: SmokeRun) -> None:
    """Environment variables arrive unchanged."""
    result = await smoke.run(smoke.request('printf %s "$GREETING"', env={"GREETING": "a 'b' $c\nü"}))
    expect("stdout", result.stdout, "a 'b' $c\nü")


async def time_out(smoke: SmokeRun) -> None:
    """A command that exceeds its timeout is killed with its descendants."""
    result = await smoke.run(smoke.request("sleep 600 & sleep 600", timeout_ms=2000))
    expect("errCode", result.err_code, ErrorCode.TIMEOUT)


async def streaming(smoke: SmokeRun) -> None:
    """Output arrives while the command runs, and the command can be killed."""
    first = asyncio.Event()
    request = smoke.request("echo ready; exec sleep 600", timeout_ms=600_000)
    run = asyncio.create_task(smoke.run(request, lambda chunk: first.set()))
    await asyncio.wait_for(first.wait(), _TIMEOUT_S)
    await smoke.sandbox.kill(request.task_key)
    result = await run
    expect("killed", (result.err_code, result.stdout), (ErrorCode.CMD_NONZERO, "ready\n"))


async def no_network(smoke: SmokeRun) -> None:
    """Without `net` the sandbox has no network."""
    probe = "timeout 5 bash -c 'echo > /dev/tcp/1.1.1.1/443' 2> /dev/null && echo open || echo closed"
    result = await smoke.run(smoke.request(probe))
    expect("network", result.stdout, "closed\n")


async def adoption(smoke: SmokeRun) -> None:
    """After the client is killed, another client with the same task key adopts the running command."""
    request = smoke.request("echo begun; sleep 8; echo done", timeout_ms=120_000)
    victim = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sisu_pipeline.proof.labs.e2b_smoke",
        json.dumps(request.to_json()),
        env=smoke.child_environment,
        stdout=asyncio.subprocess.PIPE,
    )
    assert victim.stdout is not None
    await asyncio.wait_for(victim.stdout.readline(), _TIMEOUT_S)
    victim.kill()
    await victim.wait()
    result = await smoke.run(request)
    expect("how", (result.raw or {}).get("sandbox", {}).get("how"), "adopted")
    expect("stdout", result.stdout, "begun\ndone\n")


CHECKS: dict[str, Check] = {
    "success": success,
    "failure": failure,
    "files": files,
    "environment": environment,
    "timeout": time_out,
    "streaming": streaming,
    "no network": no_network,
    "adoption": adoption,
}


def run(configuration: Settings, report: Callable[[str], None]) -> Json:
    """Run every check; the report has results, durations and the number of sandboxes left."""
    return asyncio.run(_run(configuration, report))


async def _run(configuration: Settings, report: Callable[[str], None]) -> Json:
    live = configuration.model_copy(
        update={"sbx_provider": "e2b", "e2b_deployment": f"smoke-{uuid.uuid4().hex[:12]}"}
    )
    smoke = SmokeRun(live)
    outcomes: list[Json] = []
    for name, check in CHECKS.items():
        began = time.monotonic()
        try:
            await check(smoke)
            error = None
        except (LabFailed, TimeoutError) as failed:
            error = str(failed) or type(failed).__name__
        outcomes.append({"check": name, "seconds": round(time.monotonic() - began, 2), "error": error})
        report(f"{name}: {error or 'passed'}")
    health = await smoke.sandbox.health()
    await smoke.sandbox.close()
    boots = sorted((result.raw or {}).get("bootMs", 0) for result in smoke.results)
    left = health.detail.get("alive")
    return {
        "lab": "e2b-smoke",
        "passed": left == 0 and all(outcome["error"] is None for outcome in outcomes),
        "checks": outcomes,
        "sandboxes_left": left,
        "boot_ms": {"median": boots[len(boots) // 2], "max": boots[-1], "n": len(boots)} if boots else None,
    }


def open_provider(configuration: Settings) -> Sandbox:
    """Open the e2b provider of these settings, without a database."""
    options = e2b_settings(configuration, None)
    return open_sandbox("live", "e2b", home=configuration.home, receipts=MemoryReceipts(), e2b=options)


def _variables(configuration: Settings) -> dict[str, str]:
    """The variables a child process needs to open the same provider."""
    key = configuration.e2b_api_key
    given = {
        "E2B_API_KEY": key.get_secret_value() if key else None,
        "E2B_API_URL": configuration.e2b_api_url,
        "E2B_SANDBOX_URL": configuration.e2b_sandbox_url,
        "E2B_DEPLOYMENT": configuration.e2b_deployment,
        "SBX_PROVIDER": "e2b",
    }
    return {name: value for name, value in given.items() if value is not None}


async def _run_until_killed(request: SandboxRequest) -> None:
    """Run one request and print its output: the parent process kills this one at the first line."""
    context = TaskContext("run_smoke", "ExecuteST", 1, request.task_key)
    provider = open_provider(settings())
    await provider.run(request, context, lambda chunk: print(chunk.chunk, end="", flush=True))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_run_until_killed(SandboxRequest.from_json(json.loads(sys.argv[1]))))
