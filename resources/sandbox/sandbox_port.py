"""The sandbox port: the interface of every provider."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from sisu_pipeline.contracts.sandbox_request import SandboxRequest, SandboxResult
from sisu_pipeline.domain.changes.declared_setup import SetupOrder
from sisu_pipeline.domain.operator_errors import OperatorError


class SandboxUnavailable(OperatorError):
    """The provider cannot start. The message contains what the operator can do."""

    code = "sandbox_unavailable"


class RequestRefused(Exception):
    """The request can never be run by this provider. `code` is for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class SetupReport:
    """How a provider came to the setup of a run. `exit_code` is None without an execution that ended by itself."""

    layer_sha256: str
    outcome: Literal["prepared", "cached", "simulated", "failed"]
    exit_code: int | None = None
    wall_ms: int = 0

    def to_json(self) -> dict[str, Any]:
        """The report in `raw.setup` of a task."""
        return {
            "layer": self.layer_sha256,
            "outcome": self.outcome,
            "exitCode": self.exit_code,
            "wallMs": self.wall_ms,
        }


class SetupFailed(Exception):
    """The setup of a run failed, so that none of its tasks can start. The message is a sentence.

    `report` is None when the command was not executed.
    """

    def __init__(self, message: str, report: SetupReport | None = None) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class TaskContext:
    """The task of a request. `attempt` counts from 1. A request with an idempotency key is executed once.

    `setup` is the setup whose hash the request names.
    """

    run_id: str
    step_id: str
    attempt: int
    idempotency_key: str | None
    setup: SetupOrder | None = None


@dataclass(frozen=True)
class Chunk:
    """A piece of output as it appeared; `seq` counts from 0 over both streams of one task."""

    kind: Literal["stdout", "stderr"]
    chunk: str
    seq: int


ChunkSink = Callable[[Chunk], None]

UriResolver = Callable[[str], Awaitable[bytes]]
"""Fetches the content of an input file named by `uri`. Raises LookupError when there is no such content."""

TreeResolver = Callable[[str, str, Path], Awaitable[None]]
"""Writes the files that a request names as its tree to a folder, at once: `await resolve(run_id, tree, folder)`.

Does nothing when the folder exists. Raises LookupError when the run has no such tree.
"""

TaskRef = tuple[str, str]
"""A run id and a task key."""

Wanted = Callable[[Collection[TaskRef]], Awaitable[Collection[TaskRef]]]
"""Those of the given tasks whose run still waits for their result; the sandboxes of others are orphans."""


@dataclass(frozen=True)
class SandboxHealth:
    """Whether the provider can run tasks now; `detail` is plain JSON for `sisu doctor`."""

    ok: bool
    detail: Mapping[str, Any] = field(default_factory=dict)


class Sandbox(Protocol):
    """A place that runs one command per request.

    Failures of the task and of the infrastructure are results with an `errCode`, never exceptions. Canceling
    the awaiting task kills the execution and raises CancelledError again.
    """

    @property
    def name(self) -> str:
        """`mock`, `local` or `e2b`."""

    async def run(self, request: SandboxRequest, context: TaskContext, on_chunk: ChunkSink) -> SandboxResult:
        """Run the command and return how it ended; output is also passed to `on_chunk` while it appears.

        The chunks of a stream, joined, are that stream of the result. Raises SetupFailed; how the setup of a
        request was found is `raw.setup` of the result (`SetupReport`).
        """

    async def adopt(self, task_key: str) -> SandboxResult | None:
        """The result of the running execution of `task_key`; None if there is none to adopt."""

    async def kill(self, task_key: str) -> bool:
        """Kill the executions of `task_key`, whose `run` then returns a result. False if none runs."""

    async def health(self) -> SandboxHealth:
        """Whether tasks can run now."""

    async def close(self) -> None:
        """Kill all executions and release all resources. The provider cannot be used afterwards."""
