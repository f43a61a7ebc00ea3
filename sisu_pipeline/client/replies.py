"""The replies of the API as types. Members beyond these are in `docs/api.md`."""

from typing import Any, NotRequired, TypedDict

Json = dict[str, Any]


class IntentSubmitted(TypedDict):
    """A stored intent."""

    intentId: str
    isReplay: bool


class RunStarted(TypedDict):
    """A started run; `isReplay` if it was started before with the same identity."""

    runId: str
    workflowId: str
    isReplay: bool
    kept: NotRequired[list[Json]]


class RunHead(TypedDict):
    """A run in a list."""

    runId: str
    intentId: str
    workflowId: str
    status: str
    lastStep: str | None
    error: NotRequired[str | None]
    nextAction: NotRequired[str | None]
    retryCount: int
    queuePartitionKey: str
    tenantId: str | None
    createdAt: str
    updatedAt: str


class RunProgress(RunHead):
    """A run at one moment: what `Client.watch` yields at every change."""

    gate: Json | None
    decision: Json | None
    tasks: Json
    outcome: NotRequired[str | None]
    waitsFor: NotRequired[str | None]


class ArtifactView(TypedDict):
    """The card of an artifact; `Client.artifact` downloads the content at its `uri`."""

    kind: str
    sha256: str
    uri: str
    stepId: str
    taskKey: str
    sizeBytes: int


class RunView(RunProgress):
    """A run with its steps and artifacts."""

    steps: list[Json]
    artifacts: list[ArtifactView]
    artifactCount: int


class RunPage(TypedDict):
    """Runs, the newest first; `nextBefore` is the argument `before` of the next page."""

    runs: list[RunHead]
    nextBefore: str | None


class PlanView(TypedDict):
    """The newest version of a run's plan; `planSha256` is what an approval names."""

    runId: str
    version: int
    planSha256: str
    plan: Json
    patches: list[Json]
    versions: list[Json]


class GateEntry(TypedDict):
    """A gate of a run; `form` has the question of an ask gate and the JSON Schema of its answer."""

    runId: str
    gateKey: str
    purpose: str
    goal: str
    state: str
    planSha256: str
    openedAt: str
    deadlineAt: str | None
    form: NotRequired[Json | None]
    approvals: NotRequired[Json | None]


class Gates(TypedDict):
    """The gates of a run, in the order they opened."""

    gates: list[GateEntry]


class OpenGates(TypedDict):
    """Open gates, the most urgent first; `nextCursor` is the argument `cursor` of the next page."""

    gates: list[Json]
    count: int
    nextCursor: str | None


class Approved(TypedDict):
    """A recorded approval; with `approvals`, the plan requires more."""

    runId: str
    approvedAt: str
    approvals: NotRequired[Json | None]


class Rejected(TypedDict):
    """A recorded rejection."""

    runId: str
    rejectedAt: str


class ChangesRequested(TypedDict):
    """A recorded request for changes."""

    runId: str
    round: int
    requestedAt: str


class Answered(TypedDict):
    """A recorded answer."""

    runId: str
    gateKey: str
    answeredAt: str


class Operated(TypedDict):
    """A run after it was canceled or retried."""

    runId: str
    status: str
    retryCount: int


class OutputPiece(TypedDict):
    """A piece of the output of a running task; `id` continues the stream after it."""

    id: int
    taskKey: str
    position: int
    kind: str
    chunk: str
