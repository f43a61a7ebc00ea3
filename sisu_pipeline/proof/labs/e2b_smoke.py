"""`sisu lab e2b-smoke`: what the tests hold on our own server, asked of the real E2B (or E2B_API_URL's)."""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from resources.sandbox.memory_receipts import MemoryReceipts
from resources.sandbox.sandbox_port import Chunk, Sandbox, TaskContext
from resources.sandbox_factory import open_sandbox
from sisu_pipeline.contracts.sandbox_request import ErrorCode, FileIn, SandboxRequest, SandboxResult
from sisu_pipeline.proof.harness.lab_stack import LabFailed
from sisu_pipeline.queueing.sandbox_provider import e2b_settings
from sisu_pipeline.settings import Settings, child_environment, settings

Json = dict[str, Any]
Check = Callable[["Bench"], Awaitable[None]]

TEMPLATE = "base"
_KILL_AFTER_S = 60.0


class Bench:
    """Runs commands at E2B under fresh task keys and remembers what it saw."""

    def __init__(self, configuration: Settings) -> None:
        self.sandbox = open_provider(configuration)
        self.child_environment = child_environment(**_variables(configuration))
        self.results: list[SandboxResult] = []

    def request(self, cmd: str, **fields: Any) -> SandboxRequest:
        """A request nobody has made before."""
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
        """Its result."""
        context = TaskContext("run_smoke", "ExecuteST", 1, request.task_key)
        result = await self.sandbox.run(request, context, on_chunk or (lambda chunk: None))
        self.results.append(result)
        return result


def expect(what: str, seen: object, wanted: object) -> None:
    """Raise LabFailed when it is not what it should be."""
    if seen != wanted:
        raise LabFailed(f"{what}: {seen!r}, expected {wanted!r}")


async def success(bench: Bench) -> None:
    """A command succeeds, and its output is its own."""
    result = await bench.run(bench.request("echo out; echo err >&2"))
    expect("result", (result.err_code, result.stdout, result.stderr), (ErrorCode.NONE, "out\n", "err\n"))


async def failure(bench: Bench) -> None:
    """An exit code is the command's own and nothing else's failure."""
    result = await bench.run(bench.request("echo 'network timeout' >&2; exit 77"))
    expect("result", (result.err_code, result.exit), (ErrorCode.CMD_NONZERO, 77))


async def files(bench: Bench) -> None:
    """Files go in and come out, text and bytes, whatever they are called."""
    inside = (FileIn(path="a b/ü", inline="text"), FileIn(path="raw", uri="data:x;base64,AP+A"))
    request = bench.request("cat 'a b/ü' > out; cat raw > \"b\nc\"; ln -s / link", files_in=inside, workdir="w")
    result = await bench.run(request)
    seen = [(file.path, file.inline or file.uri) for file in result.files_out]
    expect("files", seen, [("b\nc", "data:application/octet-stream;base64,AP+A"), ("out", "text")])


async def environment(bench: Bench) -> None:
    """The environment arrives as it is."""
    result = await bench.run(bench.request('printf %s "$GREETING"', env={"GREETING": "a 'b' $c\nü"}))
    expect("stdout", result.stdout, "a 'b' $c\nü")


async def time_out(bench: Bench) -> None:
    """A command that takes too long is killed with all it started."""
    result = await bench.run(bench.request("sleep 600 & sleep 600", timeout_ms=2000))
    expect("errCode", result.err_code, ErrorCode.TIMEOUT)


async def streaming(bench: Bench) -> None:
    """Output arrives while the command runs."""
    first = asyncio.Event()
    request = bench.request("echo ready; exec sleep 600", timeout_ms=600_000)
    run = asyncio.create_task(bench.run(request, lambda chunk: first.set()))
    await asyncio.wait_for(first.wait(), _KILL_AFTER_S)
    await bench.sandbox.kill(request.task_key)
    result = await run
    expect("killed", (result.err_code, result.stdout), (ErrorCode.CMD_NONZERO, "ready\n"))


async def no_network(bench: Bench) -> None:
    """Without `net` nothing outside can be reached."""
    probe = "timeout 5 bash -c 'echo > /dev/tcp/1.1.1.1/443' 2> /dev/null && echo open || echo closed"
    result = await bench.run(bench.request(probe))
    expect("network", result.stdout, "closed\n")


async def adoption(bench: Bench) -> None:
    """What a killed process was running is gone on with by another one that is asked for the same task."""
    request = bench.request("echo begun; sleep 8; echo done", timeout_ms=120_000)
    victim = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sisu_pipeline.proof.labs.e2b_smoke",
        json.dumps(request.to_json()),
        env=bench.child_environment,
        stdout=asyncio.subprocess.PIPE,
    )
    assert victim.stdout is not None
    await asyncio.wait_for(victim.stdout.readline(), _KILL_AFTER_S)
    victim.kill()
    await victim.wait()
    result = await bench.run(request)
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


def run(configuration: Settings, say: Callable[[str], None]) -> Json:
    """Every check in turn; the report says which held, how long each took, and whether anything was left."""
    return asyncio.run(_run(configuration, say))


async def _run(configuration: Settings, say: Callable[[str], None]) -> Json:
    live = configuration.model_copy(
        update={"sbx_provider": "e2b", "e2b_deployment": f"smoke-{uuid.uuid4().hex[:12]}"}
    )
    bench = Bench(live)
    outcomes: list[Json] = []
    for name, check in CHECKS.items():
        began = time.monotonic()
        try:
            await check(bench)
            error = None
        except (LabFailed, TimeoutError) as failed:
            error = str(failed) or type(failed).__name__
        outcomes.append({"check": name, "seconds": round(time.monotonic() - began, 2), "error": error})
        say(f"{name}: {error or 'held'}")
    health = await bench.sandbox.health()
    await bench.sandbox.close()
    boots = sorted((result.raw or {}).get("bootMs", 0) for result in bench.results)
    left = health.detail.get("alive")
    return {
        "lab": "e2b-smoke",
        "passed": left == 0 and all(outcome["error"] is None for outcome in outcomes),
        "checks": outcomes,
        "sandboxes_left": left,
        "boot_ms": {"median": boots[len(boots) // 2], "max": boots[-1], "n": len(boots)} if boots else None,
    }


def open_provider(configuration: Settings) -> Sandbox:
    """The e2b provider of these settings, without a database."""
    knobs = e2b_settings(configuration, None)
    return open_sandbox("live", "e2b", home=configuration.home, receipts=MemoryReceipts(), e2b=knobs)


def _variables(configuration: Settings) -> dict[str, str]:
    """What a child needs to open the same provider."""
    key = configuration.e2b_api_key
    given = {
        "E2B_API_KEY": key.get_secret_value() if key else None,
        "E2B_API_URL": configuration.e2b_api_url,
        "E2B_SANDBOX_URL": configuration.e2b_sandbox_url,
        "E2B_DEPLOYMENT": configuration.e2b_deployment,
        "SBX_PROVIDER": "e2b",
    }
    return {name: value for name, value in given.items() if value is not None}


async def _victim(request: SandboxRequest) -> None:
    """Run one request and say when its command has begun: somebody waits for that to kill us."""
    context = TaskContext("run_smoke", "ExecuteST", 1, request.task_key)
    provider = open_provider(settings())
    await provider.run(request, context, lambda chunk: print(chunk.chunk, end="", flush=True))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_victim(SandboxRequest.from_json(json.loads(sys.argv[1]))))
