"""One task: infrastructure failures are retried, failures of the task never, and the result is stored once."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from resources.sandbox.sandbox_port import Chunk, ChunkSink, SandboxHealth, TaskContext
from sisu_pipeline.contracts.sandbox_request import ErrorCode, Metrics, SandboxRequest, SandboxResult
from sisu_pipeline.queueing.task_runner import TaskStore, run_task
from sisu_pipeline.steps.execute import MAX_ATTEMPTS, Task
from sisu_pipeline.store.outputs.run_setups import UsedSetup
from sisu_pipeline.store.tasks import Outcome, Try

KEY = "a" * 64
TASK = Task(0, SandboxRequest(env_ref="e", cmd="pytest", timeout_ms=1, task_key=KEY), "scripted")


@dataclass
class Scripted:
    """A sandbox that ends each try as the script says."""

    script: list[ErrorCode]
    name: str = "scripted"
    asked: list[TaskContext] = field(default_factory=list)

    async def run(self, request: SandboxRequest, context: TaskContext, on_chunk: ChunkSink) -> SandboxResult:
        self.asked.append(context)
        code = self.script[len(self.asked) - 1]
        on_chunk(Chunk("stderr", "e" * 2000, 0))
        return SandboxResult(
            exit=0 if code is ErrorCode.NONE else 1,
            stdout="",
            stderr="e" * 2000,
            metrics=Metrics(wall_ms=1, cpu_ms=1, mem_peak_mb=1),
            sandbox_ref="s",
            err_code=code,
            task_key=request.task_key,
        )

    async def adopt(self, task_key: str) -> SandboxResult | None:
        raise NotImplementedError

    async def kill(self, task_key: str) -> bool:
        raise NotImplementedError

    async def health(self) -> SandboxHealth:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


@dataclass
class Memory:
    """Rows in memory."""

    earlier: int = 0
    tries: list[Try] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    setups: list[UsedSetup] = field(default_factory=list)

    def store(self) -> TaskStore:
        async def count(run_id: str, task_key: str) -> int:
            return self.earlier

        async def store_try(attempt: Try) -> None:
            self.tries.append(attempt)

        async def store_outcome(outcome: Outcome) -> None:
            self.outcomes.append(outcome)

        async def record_setup(run_id: str, used: UsedSetup) -> None:
            self.setups.append(used)

        return TaskStore(count, store_try, store_outcome, record_setup)


@pytest.fixture(autouse=True)
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays asked for, in seconds; none is waited."""
    asked: list[float] = []

    async def sleep(seconds: float) -> None:
        asked.append(seconds)

    monkeypatch.setattr("sisu_pipeline.queueing.task_runner.sleep", sleep)
    return asked


def run(script: list[ErrorCode], memory: Memory, task: Task = TASK) -> tuple[SandboxResult, Scripted]:
    sandbox = Scripted(script)
    return asyncio.run(run_task(sandbox, memory.store(), "run_1", task, lambda chunk: None)), sandbox


def test_a_provider_that_the_plan_does_not_name_executes_nothing() -> None:
    memory = Memory()
    result, sandbox = run([], memory, replace(TASK, provider="local"))
    assert sandbox.asked == []
    assert (result.err_code, len(memory.tries), len(memory.outcomes)) == (ErrorCode.BOOT_FAIL, 2, 1)
    assert "the approved plan names the sandbox provider local, and this worker has scripted" in result.stderr


def test_a_good_result_is_stored_after_one_try(delays: list[float]) -> None:
    memory = Memory()
    result, sandbox = run([ErrorCode.NONE], memory)
    assert result.err_code is ErrorCode.NONE
    assert [(o.attempt, o.provider, o.result) for o in memory.outcomes] == [(1, "scripted", result)]
    assert sandbox.asked == [TaskContext("run_1", "ExecuteST", 1, idempotency_key=KEY)]
    assert (memory.tries, delays) == ([], [])


@pytest.mark.parametrize("code", [code for code in ErrorCode if not code.is_retryable])
def test_a_failure_of_the_task_itself_is_never_retried(code: ErrorCode) -> None:
    memory = Memory()
    result, sandbox = run([code], memory)
    assert (result.err_code, len(sandbox.asked), len(memory.outcomes)) == (code, 1, 1)


@pytest.mark.parametrize("code", [code for code in ErrorCode if code.is_retryable])
def test_an_infrastructure_failure_is_retried_after_one_and_two_seconds(
    code: ErrorCode, delays: list[float]
) -> None:
    memory = Memory()
    result, sandbox = run([code, code, ErrorCode.NONE], memory)
    assert result.err_code is ErrorCode.NONE
    assert [context.attempt for context in sandbox.asked] == [1, 2, 3]
    assert [(attempt.attempt, attempt.err_code, len(attempt.detail)) for attempt in memory.tries] == [
        (1, code, 1000),
        (2, code, 1000),
    ]
    assert [outcome.attempt for outcome in memory.outcomes] == [3]
    assert delays == [1.0, 2.0]


def test_the_last_try_is_the_result_even_if_it_failed() -> None:
    memory = Memory()
    result, sandbox = run([ErrorCode.NET_FAIL] * MAX_ATTEMPTS, memory)
    assert result.err_code is ErrorCode.NET_FAIL
    assert len(sandbox.asked) == MAX_ATTEMPTS == len(memory.tries) + len(memory.outcomes)


def test_tries_on_record_count_after_a_crash() -> None:
    memory = Memory(earlier=2)
    _, sandbox = run([ErrorCode.NET_FAIL], memory)
    assert [context.attempt for context in sandbox.asked] == [3]
    assert [outcome.attempt for outcome in memory.outcomes] == [3]
