"""`sisu lab e2b-smoke`: what the tests hold on our own server, asked of the real E2B (or E2B_API_URL's)."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from resources.sandbox.factory import open_sandbox
from resources.sandbox.memory_receipts import MemoryReceipts
from resources.sandbox.port import Chunk, Sandbox, TaskContext
from sisu_pipeline.contracts.sandbox import ErrorCode, FileIn, SandboxRequest, SandboxResult
from sisu_pipeline.labs.lab_stack import LabFailed
from sisu_pipeline.sandboxes import e2b_settings
from sisu_pipeline.settings import Settings

Json = dict[str, Any]
Check = Callable[["Bench"], Awaitable[None]]

TEMPLATE = "base"
_KILL_AFTER_S = 60.0


class Bench:
    """Runs commands at E2B under fresh task keys and remembers what it saw."""

    def __init__(self, open_provider: Callable[[], Sandbox]) -> None:
        self.open_provider = open_provider
        self.sandbox = open_provider()
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
    """A second process that is asked for the same task goes on with what the first one started."""
    request = bench.request("echo $$; sleep 8; echo done", timeout_ms=120_000)
    context = TaskContext("run_smoke", "ExecuteST", 1, request.task_key)
    begun = asyncio.Event()
    first = asyncio.create_task(bench.sandbox.run(request, context, lambda chunk: begun.set()))
    await asyncio.wait_for(begun.wait(), _KILL_AFTER_S)
    other = bench.open_provider()
    second = await other.run(request, context, lambda chunk: None)
    expect("how", (second.raw or {}).get("sandbox", {}).get("how"), "adopted")
    expect("stdout", second.stdout.endswith("\ndone\n"), True)
    first.cancel()
    await asyncio.wait({first})
    await other.close()


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

    def open_provider() -> Sandbox:
        knobs = e2b_settings(live, None)
        return open_sandbox("live", "e2b", home=live.home, receipts=MemoryReceipts(), e2b=knobs)

    bench = Bench(open_provider)
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
