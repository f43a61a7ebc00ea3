"""Requests and contexts with everything that does not matter filled in."""

from typing import Any

from resources.sandbox.sandbox_port import Chunk, TaskContext
from sisu_pipeline.contracts.sandbox_request import SandboxRequest

TASK_KEY = "0123456789abcdef" * 4


def a_request(cmd: str, **fields: Any) -> SandboxRequest:
    """A request to run `cmd`, with a generous timeout."""
    return SandboxRequest(**{"env_ref": "base", "timeout_ms": 30_000, "task_key": TASK_KEY, "cmd": cmd, **fields})


def a_context(attempt: int = 1, idempotency_key: str | None = None) -> TaskContext:
    """The context of a task of run `run_1`."""
    return TaskContext(run_id="run_1", step_id="ExecuteST", attempt=attempt, idempotency_key=idempotency_key)


def ignore(chunk: Chunk) -> None:
    """A sink for who does not watch."""
