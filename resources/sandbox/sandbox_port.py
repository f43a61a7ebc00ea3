"""The sandbox port: what the engine asks of every provider, and nothing about how they do it."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sisu_pipeline.contracts.sandbox_request import SandboxRequest, SandboxResult
from sisu_pipeline.domain.operator_errors import OperatorError


class SandboxUnavailable(OperatorError):
    """The provider refuses to start. The message tells the operator what to do about it."""

    code = "sandbox_unavailable"


class RequestRefused(Exception):
    """The request cannot be run here and never will be: `code` is for programs, the text for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class TaskContext:
    """Who asks. `attempt` counts from 1; a request with a key already running or done is never run twice."""

    run_id: str
    step_id: str
    attempt: int
    idempotency_key: str | None


@dataclass(frozen=True)
class Chunk:
    """A piece of output as it appeared; `seq` counts from 0 over both streams of one task."""

    kind: Literal["stdout", "stderr"]
    chunk: str
    seq: int


ChunkSink = Callable[[Chunk], None]

UriResolver = Callable[[str], Awaitable[bytes]]
"""Fetches the content of an input file named by `uri`. Raises LookupError when there is no such content."""

TaskRef = tuple[str, str]
"""A run id and a task key."""

Wanted = Callable[[Collection[TaskRef]], Awaitable[Collection[TaskRef]]]
"""Which of these tasks still have a run that waits for their result; the sandboxes of others are orphans."""


@dataclass(frozen=True)
class SandboxHealth:
    """Whether the provider can run tasks now; `detail` is plain JSON for `sisu doctor`."""

    ok: bool
    detail: Mapping[str, Any] = field(default_factory=dict)


class Sandbox(Protocol):
    """A place that runs one command per request.

    Failures of the task and of the infrastructure are results with an `errCode`, never exceptions. Cancelling
    the awaiting task kills what it started and raises CancelledError again.
    """

    @property
    def name(self) -> str:
        """`mock`, `local` or `e2b`."""

    async def run(self, request: SandboxRequest, context: TaskContext, on_chunk: ChunkSink) -> SandboxResult:
        """Run the command and return how it ended; output is also passed to `on_chunk` while it appears.

        The chunks of a stream, joined, are that stream of the result.
        """

    async def adopt(self, task_key: str) -> SandboxResult | None:
        """Wait for the execution of `task_key` that is already running; None when there is none to adopt."""

    async def kill(self, task_key: str) -> bool:
        """Kill what runs for `task_key`; its `run` then returns a result. False when nothing runs."""

    async def health(self) -> SandboxHealth:
        """Whether tasks can run now."""

    async def close(self) -> None:
        """Kill what still runs and give everything back. The provider cannot be used afterwards."""
