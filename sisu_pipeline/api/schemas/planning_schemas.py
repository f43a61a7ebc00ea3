"""Response models of a run in full: the work of a coding agent, and the push of the result."""

from typing import Literal

from pydantic import Field

from sisu_pipeline.api.schemas.run_schemas import ArtifactView, Count, RunProgress, StepView, Time
from sisu_pipeline.contracts.base import Contract, absent
from sisu_pipeline.store.outputs.pushes import PushState


class PlanningSession(Contract):
    """One session with a coding agent."""

    round: Count
    """Number of the planning round; the first plan is round 1, each request for changes is another."""
    outcome: Literal["answered", "failed"]
    """`answered` with a plan, or `failed`."""
    error: str | None
    """Reason of the failure; null with a plan."""
    agent: str
    """Name and version of the agent, or its command."""
    model: str | None
    """Name of the model."""
    tool_calls: dict[str, int]
    """Number of tool calls by kind."""
    model_calls: Count
    """Number of calls of the model."""
    tokens: Count
    """Input and output tokens of the model."""
    cost_usd: float | None = Field(alias="costUSD")
    """Cost in US dollars; null without prices in the settings."""
    duration_ms: Count
    """Duration in milliseconds."""
    transcript_uri: str
    """Artifact with every frame of the session."""
    created_at: Time
    """Time of its end."""


class PlanningView(Contract):
    """The budget of a coding agent, and its sessions so far."""

    max_plan_tokens: int | None
    """Most tokens; null without a limit."""
    max_plan_cost_usd: float | None = Field(alias="maxPlanCostUSD")
    """Most US dollars; null without a limit."""
    sessions: list[PlanningSession]
    """Sessions in order; empty while the first one runs."""


class PushView(Contract):
    """The push of the branch with the run's result, requested once the run has succeeded."""

    state: PushState
    """`waiting` for its first or next attempt, `pushed`, or `failed` for good."""
    remote: str
    """Address of the repository."""
    branch: str
    """Branch that is created there."""
    commit: str | None
    """Commit that was pushed; null before."""
    error: str | None
    """Cause of the failure, or of the failure of the last attempt; null without one."""
    attempts: Count
    """Attempts so far."""
    ended_at: Time | None
    """Time at which it was pushed or failed; null before."""


class RunView(RunProgress):
    """All details of a run, with at most its first 1,000 artifacts."""

    planning: PlanningView | None = Field(default=None, exclude_if=absent)
    """Work of the coding agent; absent if none makes the plan."""
    push: PushView | None = Field(default=None, exclude_if=absent)
    """Push of the result; absent without one, and before the run has succeeded."""
    steps: list[StepView]
    """Committed results of the steps, in order."""
    artifacts: list[ArtifactView]
    """First 1,000 artifacts."""
    artifact_count: Count
    """Number of all artifacts."""
