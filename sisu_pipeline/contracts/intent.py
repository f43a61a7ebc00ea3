"""The intent and the request to run it."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from sisu_pipeline.contracts.base import Contract

Text = Annotated[str, Field(min_length=1)]


class Intent(Contract):
    """Goal, inputs and constraints. The content determines the id (`domain.identity.intent_id`)."""

    goal: Text
    inputs: dict[str, Any]
    constraints: dict[str, Any]
    connectors: list[str] | None = None


class QueueName(StrEnum):
    """The names of the queues."""

    INTENT = "intentQ"
    SANDBOX = "sbxQ"
    COMPILE = "compileQ"
    CONTROL = "controlQ"


class Lane(StrEnum):
    """Priority class: interactive while a person waits, else batch."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Workload(Contract):
    """Resources the caller expects to use, checked against the caps of the recipe."""

    concurrency: int = Field(ge=0)
    steps: int = Field(ge=0)
    sandbox_minutes: int = Field(ge=0)


class Budget(Contract):
    """Hard limits of one run."""

    max_fanout: int = Field(ge=1)
    max_sbx_minutes: int = Field(ge=1, alias="maxSBXMinutes")
    max_artifacts_mb: int = Field(ge=1, alias="maxArtifactsMB")
    max_retries_per_step: int = Field(ge=0)
    max_wall_clock_ms: int = Field(ge=1, alias="maxWallClockMS")


class RunRequest(Contract):
    """How to run an intent. Every field is optional; null means absent."""

    trace_id: str | None = None
    queue_name: QueueName | None = None
    lane: Lane | None = None
    priority: int | None = Field(default=None, ge=0, le=2**31 - 1)
    deduplication_id: str | None = Field(default=None, alias="deduplicationID")
    timeout_ms: int | None = Field(default=None, ge=1, le=2**53 - 1, alias="timeoutMS")
    recipe_name: str | None = None
    recipe_version: int | None = None
    workload: Workload | None = None
    tenant_id: Text | None = None
    task_key: Text | None = None
    queue_partition_key: Text | None = None
    budget: Budget | None = None
