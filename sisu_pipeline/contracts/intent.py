"""The intent and the request to run it."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from sisu_pipeline.contracts.base import Contract

Text = Annotated[str, Field(min_length=1)]
Key = Annotated[str, Field(min_length=1, max_length=255)]
"""A text that becomes a key, an index entry or a label: Postgres indexes up to 2,704 bytes."""

# What git accepts as a name of a reference (git-check-ref-format), and never an option or a refspec.
_REF = r"^(?!-)(?!/)(?!.*//)(?!.*\.\.)(?!.*@\{)(?!.*(?:\.|/|\.lock)$)[^\x00-\x20\x7f~^:?*\[\\+]+$"
# A plain relative path without a component that means a git folder.
_FOLDER = r"^(?!.*(^|/)\.{0,2}(/|$))(?!(.*/)?\.[gG][iI][tT](/|$))[^\x00-\x1f\x7f\\]+$"

# The same, or with a slash at its end for everything below a folder.
_FILE_OR_FOLDER = r"^(?!.*(^|/)(\.{0,2}/|\.{1,2}$))(?!(.*/)?\.[gG][iI][tT](/|$))[^\x00-\x1f\x7f\\]+$"

Ref = Annotated[str, Field(min_length=1, max_length=250, pattern=_REF)]
LockFile = Annotated[str, Field(min_length=1, max_length=1000, pattern=_FILE_OR_FOLDER)]


class Intent(Contract):
    """Goal, inputs and constraints. The content determines the id (`domain.identity.intent_id`)."""

    goal: Text
    """The goal in words."""
    inputs: dict[str, Any]
    """Inputs of the planner and the tasks."""
    constraints: dict[str, Any]
    """Constraints of the plan and settings of its gates."""
    connectors: list[str] | None = None
    """Names of external systems; part of the id, and of the prompt of a coding agent."""


class QueueName(StrEnum):
    """The names of the queues."""

    INTENT = "intentQ"
    SANDBOX = "sbxQ"
    COMPILE = "compileQ"
    CONTROL = "controlQ"


class Lane(StrEnum):
    """Priority class: interactive runs start before batch runs."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Workload(Contract):
    """Resources the caller expects to use, checked against the caps of the recipe."""

    concurrency: int = Field(ge=0)
    """Tasks at once."""
    steps: int = Field(ge=0)
    """Steps of the plan."""
    sandbox_minutes: int = Field(ge=0)
    """Minutes of sandbox time."""


class Budget(Contract):
    """Hard limits of one run."""

    max_fanout: int = Field(ge=1)
    """Most tasks of the run."""
    max_sbx_minutes: int = Field(ge=1, alias="maxSBXMinutes")
    """Longest time of one task in minutes, rounded up."""
    max_artifacts_mb: int = Field(ge=1, alias="maxArtifactsMB")
    """Largest size of all artifacts in MiB, rounded up."""
    max_retries_per_step: int = Field(ge=0)
    """Most retries of one task."""
    max_wall_clock_ms: int = Field(ge=1, alias="maxWallClockMS")
    """Longest time of the run in milliseconds, waiting for approval included."""
    max_plan_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of the model that plans, input and output together. Null: no limit."""
    max_plan_cost_usd: float | None = Field(default=None, gt=0, alias="maxPlanCostUSD")
    """Most US dollars that planning may cost, by the prices of the deployment. Null: no limit."""


class RunRequest(Contract):
    """How to run an intent. Every field is optional; null means absent."""

    trace_id: Annotated[str, Field(max_length=255)] | None = None
    """Trace id that the run records; part of its identity."""
    queue_name: QueueName | None = None
    """Queue of the run; default: the queue of its recipe."""
    lane: Lane | None = None
    """Priority class; default: `interactive`."""
    priority: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Priority within its queue partition; a lower number runs earlier. Default: 1 for `interactive`, 1000 for
    `batch`. Runs that were decided on go before runs that start, whatever their priority. Numbers from
    1,073,741,823 on are equal."""
    deduplication_id: Annotated[str, Field(max_length=255)] | None = Field(default=None, alias="deduplicationID")
    """Label of the caller, recorded and shown. A run is unique by its intent: two runs may have the same label."""
    timeout_ms: int | None = Field(default=None, ge=1, le=2**53 - 1, alias="timeoutMS")
    """Longest time in milliseconds from the start request to the end of the run, waiting included. A run that has
    not ended by then is canceled."""
    recipe_name: Annotated[str, Field(max_length=255)] | None = None
    """Name of the recipe; default: `compile-default`."""
    recipe_version: int | None = None
    """Version of the recipe; default: the newest."""
    workload: Workload | None = None
    """Expected resources, checked against the limits of the recipe."""
    tenant_id: Key | None = None
    """Tenant of the run."""
    task_key: Key | None = None
    """Label of the caller, recorded with the run and shown; must not be blank."""
    queue_partition_key: Key | None = None
    """Partition of the queue; required, because the queue is partitioned."""
    budget: Budget | None = None
    """Hard limits of the run."""


class RepositoryInput(Contract):
    """A git repository by its URL or its folder, and the reference whose commit the run starts from."""

    # Patterns that look ahead, which pydantic's own engine cannot.
    model_config = ConfigDict(regex_engine="python-re")

    url: str | None = Field(default=None, min_length=1, max_length=2000)
    """An https address."""
    path: str | None = Field(default=None, min_length=1, max_length=2000)
    """A folder on the workers' machine."""
    ref: Ref
    """A branch, a tag or a full commit id."""
    subdirectory: str | None = Field(default=None, min_length=1, max_length=1000, pattern=_FOLDER)
    """The folder of the repository that the run works in; paths of patches are below it."""

    @model_validator(mode="after")
    def _names_one_place(self) -> Self:
        if (self.url is None) == (self.path is None):
            raise ValueError("the repository needs exactly one of url and path")
        return self


class SetupInput(Contract):
    """What is prepared before the tasks start: dependencies that a command installs, or a prebuilt template."""

    model_config = ConfigDict(regex_engine="python-re")

    template: str | None = Field(default=None, min_length=1, max_length=255, pattern=r"^[^\x00]+$")
    """Id of a prebuilt template of the sandbox provider."""
    prepare: str | None = Field(default=None, min_length=1, max_length=20_000, pattern=r"^[^\x00]+$")
    """Shell command that installs what the tasks need into the working directory."""
    lock_files: list[LockFile] | None = Field(default=None, min_length=1, max_length=100)
    """Files that the command sees, and no others; one that ends with a slash is everything below a folder. Null:
    the usual lock files at the top of the workspace."""
    network: bool = False
    """Whether the command may reach the hosts that the deployment allows."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.template is None and self.prepare is None:
            raise ValueError("the setup must have prepare or template")
        if self.prepare is None and (self.network or self.lock_files is not None):
            raise ValueError("network and lockFiles belong to a prepare command; leave them out, or add prepare")
        return self
