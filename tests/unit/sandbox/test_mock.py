"""The mock provider executes a task once per idempotency key and returns the same bytes every time."""

import asyncio
from typing import Any

import pytest

from resources.sandbox.memory_receipts import MemoryReceipts
from resources.sandbox.mock_provider import MockSandbox
from resources.sandbox.receipts import Receipt, ReceiptState, ReceiptsUnavailable
from resources.sandbox.sandbox_port import Chunk, TaskContext
from sisu_pipeline.contracts.sandbox_request import ErrorCode, SandboxRequest, SandboxResult
from sisu_pipeline.domain.canonical import same_json, sha256_hex
from tests.unit.sandbox.requests import TASK_KEY, a_context, a_request, ignore


def run(
    request: SandboxRequest, context: TaskContext | None = None, receipts: MemoryReceipts | None = None
) -> SandboxResult:
    sandbox = MockSandbox(receipts or MemoryReceipts())
    return asyncio.run(sandbox.run(request, context or a_context(), ignore))


def test_any_command_succeeds_and_says_so() -> None:
    chunks: list[Chunk] = []
    sandbox = MockSandbox(MemoryReceipts())
    result = asyncio.run(sandbox.run(a_request("pnpm test a.test.ts"), a_context(), chunks.append))
    assert result.to_json() == {
        "exit": 0,
        "stdout": "OK: pnpm test a.test.ts\n",
        "stderr": "",
        "filesOut": [{"path": "out.json", "sha256": sha256_hex("{}"), "inline": "{}"}],
        "metrics": {"wallMs": 1, "cpuMs": 1, "memPeakMB": 1},
        "sandboxRef": "mock-runner",
        "errCode": "NONE",
        "taskKey": TASK_KEY,
        "raw": {
            "provider": "mock",
            "ctx": {"runId": "run_1", "stepId": "ExecuteST"},
            "template": {
                "source": "cold",
                "templateKey": "env:base",
                "depsHash": sha256_hex('{"envRef":"base"}'),
                "envRef": "base",
            },
            "bootMs": 50,
            "mock": True,
        },
    }
    assert chunks == [Chunk("stdout", "OK: pnpm test a.test.ts\n", 0)]


def test_a_template_id_boots_hot() -> None:
    result = run(a_request("true", template_id="tpl", template_key="key", deps_hash="d"))
    assert result.raw is not None
    assert result.raw["bootMs"] == 5
    assert result.raw["template"] == {
        "source": "hot",
        "templateId": "tpl",
        "templateKey": "key",
        "depsHash": "d",
        "envRef": "base",
    }


@pytest.mark.parametrize(
    ("cmd", "err_code", "stderr", "wall_ms"),
    [
        ("INFRA_FAIL now", ErrorCode.BOOT_FAIL, "Injected infra failure", 1),
        ("FAIL_ME", ErrorCode.CMD_NONZERO, "Simulated command failure", 1),
        ("FLAKY_INFRA_FAIL", ErrorCode.BOOT_FAIL, "Injected infra failure", 1),
        ("TIMEOUT_ME", ErrorCode.TIMEOUT, "Execution timed out", 30_000),
    ],
)
def test_failures_are_injected_by_name(cmd: str, err_code: ErrorCode, stderr: str, wall_ms: int) -> None:
    result = run(a_request(cmd))
    assert (result.exit, result.err_code, result.stderr) == (1, err_code, stderr)
    assert result.metrics.wall_ms == wall_ms
    assert result.files_out == ()
    assert result.raw is not None
    assert result.raw["injected"] is True


def test_a_flaky_task_succeeds_at_the_third_attempt_whatever_ran_before() -> None:
    codes = [run(a_request("FLAKY_INFRA_FAIL"), a_context(attempt)).err_code for attempt in (1, 2, 3, 1)]
    assert codes == [ErrorCode.BOOT_FAIL, ErrorCode.BOOT_FAIL, ErrorCode.NONE, ErrorCode.BOOT_FAIL]


def test_an_injected_infrastructure_failure_executes_nothing() -> None:
    receipts = MemoryReceipts()
    run(a_request("INFRA_FAIL"), receipts=receipts)
    run(a_request("FLAKY_INFRA_FAIL"), receipts=receipts)
    assert receipts.seen_count(TASK_KEY) == 0


def test_without_idempotency_key_every_request_executes() -> None:
    receipts = MemoryReceipts()
    for _ in range(3):
        run(a_request("true"), receipts=receipts)
    assert receipts.seen_count(TASK_KEY) == 3


def test_a_repeated_idempotency_key_adopts_and_gives_the_same_bytes() -> None:
    receipts = MemoryReceipts()
    first = run(a_request("true"), a_context(1, TASK_KEY), receipts)
    again = run(a_request("true"), a_context(2, TASK_KEY), receipts)
    assert same_json(first.to_json(), again.to_json())
    assert receipts.seen_count(TASK_KEY) == 1


def test_an_idempotency_key_used_for_another_request_is_refused() -> None:
    receipts = MemoryReceipts()
    run(a_request("true"), a_context(1, TASK_KEY), receipts)
    result = run(a_request("false"), a_context(1, TASK_KEY), receipts)
    assert result.err_code is ErrorCode.CMD_NONZERO
    assert result.raw is not None
    assert result.raw["refused"]["code"] == "IDEMPOTENCY_CONFLICT"
    assert receipts.seen_count(TASK_KEY) == 1


def test_sleep_takes_that_long_and_an_adopter_only_the_rest() -> None:
    async def story() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        receipts = MemoryReceipts()
        sandbox, adopter = MockSandbox(receipts), MockSandbox(receipts)
        began = loop.time()
        first = asyncio.create_task(sandbox.run(a_request("sleep 0.4 a"), a_context(1, "key"), ignore))
        await asyncio.sleep(0.2)
        await adopter.run(a_request("sleep 0.4 a"), a_context(1, "key"), ignore)
        adopted_after = loop.time() - began
        await first
        return loop.time() - began, adopted_after

    slept, adopted_after = asyncio.run(story())
    assert slept >= 0.4
    assert 0.35 <= adopted_after < 0.6


def test_sleep_beyond_the_timeout_is_a_timeout() -> None:
    result = run(a_request("sleep 60", timeout_ms=30))
    assert result.err_code is ErrorCode.TIMEOUT
    assert result.metrics.wall_ms == 30


@pytest.mark.parametrize("cmd", ["sleep", "sleep never", "sleep -1", "sleep nan", "sleep inf", ""])
def test_what_is_no_duration_does_not_wait(cmd: str) -> None:
    assert run(a_request(cmd)).err_code is ErrorCode.NONE


def test_kill_ends_a_sleep_with_a_result() -> None:
    async def story() -> tuple[bool, SandboxResult, bool]:
        sandbox = MockSandbox(MemoryReceipts())
        task = asyncio.create_task(sandbox.run(a_request("sleep 60"), a_context(), ignore))
        await asyncio.sleep(0)
        killed = await sandbox.kill(TASK_KEY)
        return killed, await task, await sandbox.kill(TASK_KEY)

    killed, result, killed_again = asyncio.run(story())
    assert (killed, killed_again) == (True, False)
    assert result.err_code is ErrorCode.CMD_NONZERO
    assert result.raw is not None
    assert result.raw["killedBy"] == "request"


def test_adopt_waits_for_what_runs_and_finds_nothing_afterwards() -> None:
    async def story() -> tuple[SandboxResult | None, SandboxResult, SandboxResult | None]:
        sandbox = MockSandbox(MemoryReceipts())
        task = asyncio.create_task(sandbox.run(a_request("sleep 0.05"), a_context(), ignore))
        await asyncio.sleep(0)
        return await sandbox.adopt(TASK_KEY), await task, await sandbox.adopt(TASK_KEY)

    adopted, result, nothing = asyncio.run(story())
    assert adopted == result
    assert nothing is None


def test_adopting_what_is_then_cancelled_finds_nothing() -> None:
    async def story() -> SandboxResult | None:
        sandbox = MockSandbox(MemoryReceipts())
        task = asyncio.create_task(sandbox.run(a_request("sleep 60"), a_context(), ignore))
        await asyncio.sleep(0)
        adopter = asyncio.create_task(sandbox.adopt(TASK_KEY))
        await asyncio.sleep(0)
        task.cancel()
        return await adopter

    assert asyncio.run(story()) is None


def test_a_receipt_that_cannot_be_written_is_an_infrastructure_failure() -> None:
    class Broken:
        async def start(self, receipt: Receipt) -> ReceiptState:
            raise ReceiptsUnavailable("the database is away")

    result = asyncio.run(MockSandbox(Broken()).run(a_request("true"), a_context(), ignore))
    assert result.err_code is ErrorCode.BOOT_FAIL
    assert result.stderr == "the database is away"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"files_in": [{"path": "../up", "inline": ""}]}, "PATH_INVALID"),
        ({"files_in": [{"path": "/etc/passwd", "inline": ""}]}, "PATH_INVALID"),
        ({"files_in": [{"path": "a//b", "inline": ""}]}, "PATH_INVALID"),
        ({"files_in": [{"path": "", "inline": ""}]}, "PATH_INVALID"),
        ({"files_in": [{"path": "x" * 256, "inline": ""}]}, "PATH_INVALID"),
        ({"files_in": [{"path": "a\0", "inline": ""}]}, "TEXT_INVALID"),
        ({"files_in": [{"path": "a", "inline": ""}, {"path": "a", "inline": "b"}]}, "PATH_DUPLICATE"),
        ({"files_in": [{"path": "a", "inline": ""}, {"path": "a/b", "inline": ""}]}, "PATH_DUPLICATE"),
        ({"files_in": [{"path": "a"}]}, "FILE_WITHOUT_CONTENT"),
        ({"env": {"A=B": ""}}, "ENV_NAME_INVALID"),
        ({"env": {"": ""}}, "ENV_NAME_INVALID"),
        ({"env": {"A": "\0"}}, "TEXT_INVALID"),
        ({"cmd": "echo \ud800"}, "TEXT_INVALID"),
    ],
)
def test_what_can_never_run_is_refused_for_good(fields: dict[str, Any], code: str) -> None:
    wire = {"cmd": "true", "env_ref": "base", "timeout_ms": 1, "task_key": "k", **fields}
    result = run(SandboxRequest.model_validate(wire, strict=False))
    assert (result.err_code, result.exit) == (ErrorCode.CMD_NONZERO, 126)
    assert not result.err_code.is_retryable
    assert result.raw is not None
    assert result.raw["refused"]["code"] == code
