"""Admission of runs, decided before anything is written."""

from dataclasses import dataclass
from typing import Any

from sisu_pipeline.contracts.approval_policy import DEFAULT_POLICY, ApprovalPolicy
from sisu_pipeline.contracts.intent import Budget, Lane, QueueName, RunRequest

DEFAULT_RECIPE = "compile-default"
LANE_PRIORITY = {Lane.INTERACTIVE: 1, Lane.BATCH: 1000}


class PolicyViolation(Exception):
    """The request breaks a rule of its recipe or queue; nothing was written."""


class SubmissionForbidden(Exception):
    """This person may not submit runs of the recipe, by its policy."""


@dataclass(frozen=True)
class Recipe:
    """A recipe's caps (table `app.recipes`); `hash` identifies its content."""

    id: str
    name: str
    version: int
    queue_name: str
    max_concurrency: int
    max_steps: int
    max_sandbox_minutes: int
    hash: str
    policy_id: str = DEFAULT_POLICY
    push_remote: str | None = None
    net: bool | None = None
    """False: nothing of its runs may use the network."""


@dataclass(frozen=True)
class PolicyVersion:
    """A version of an approval policy (table `app.policies`); `sha256` identifies its content."""

    id: str
    version: int
    sha256: str
    policy: ApprovalPolicy

    @property
    def name(self) -> str:
        """How messages and decisions name it: `id@version`."""
        return f"{self.id}@{self.version}"


@dataclass(frozen=True)
class Admission:
    """An admitted run request: the values of the run's row."""

    recipe: Recipe
    queue_partition_key: str
    lane: Lane
    priority: int
    tenant_id: str | None
    trace_id: str | None
    timeout_ms: int | None
    budget: dict[str, Any] | None
    deduplication_id: str | None = None
    task_key: str | None = None


def admit(request: RunRequest, recipes: list[Recipe]) -> Admission:
    """The admission of a request, given every known recipe. Raises PolicyViolation with the first broken rule."""
    recipe = _choose_recipe(request, recipes)
    queue = request.queue_name or QueueName(recipe.queue_name)
    if queue is not QueueName.INTENT:
        raise PolicyViolation(f"parent intent workflow must use intentQ (got {queue})")
    if request.budget is not None:
        _check_budget(request, request.budget)
    _check_caps(request, recipe)
    for name, value in (("tenantId", request.tenant_id), ("taskKey", request.task_key)):
        if value is not None and not value.strip():
            raise PolicyViolation(f"{name} must not be blank")
    partition_key = request.queue_partition_key
    if partition_key is None or not partition_key.strip():
        raise PolicyViolation(
            "queuePartitionKey is required for partitioned operations (queue: intentQ, isParent: true)"
        )
    lane = request.lane or Lane.INTERACTIVE
    return Admission(
        recipe=recipe,
        queue_partition_key=partition_key,
        lane=lane,
        priority=LANE_PRIORITY[lane] if request.priority is None else request.priority,
        tenant_id=request.tenant_id,
        trace_id=request.trace_id,
        timeout_ms=request.timeout_ms,
        budget=request.budget.to_json() if request.budget else None,
        deduplication_id=request.deduplication_id,
        task_key=request.task_key,
    )


def check_submitter(version: PolicyVersion, submitter: str | None, groups: frozenset[str]) -> None:
    """Raise SubmissionForbidden unless a person with these groups may submit under a policy."""
    admitted = version.policy.submitters
    if admitted is None:
        return
    if submitter is None:
        raise SubmissionForbidden(
            f"policy {version.name} names its submitters, and the submitter is unknown: start the run with a token"
        )
    if not admitted.includes(submitter, groups):
        raise SubmissionForbidden(
            f"{submitter} is not a submitter of policy {version.name}: choose another recipe, or ask an operator"
        )


def budget_violation(metric: str, observed: int, limit: int, scope: str) -> str:
    """The message for a broken budget."""
    return f"budget:{metric}: observed {observed} > limit {limit} ({scope})"


def _choose_recipe(request: RunRequest, recipes: list[Recipe]) -> Recipe:
    name = DEFAULT_RECIPE if request.recipe_name is None else request.recipe_name
    versions = [recipe for recipe in recipes if recipe.name == name]
    if request.recipe_version is not None:
        versions = [recipe for recipe in versions if recipe.version == request.recipe_version]
        name = f"{name}@{request.recipe_version}"
    if not versions:
        raise PolicyViolation(f"recipe not found: {name}")
    return max(versions, key=lambda recipe: recipe.version)


def _check_budget(request: RunRequest, budget: Budget) -> None:
    observed = {
        "maxFanout": (request.workload.steps if request.workload else None, budget.max_fanout),
        "maxSBXMinutes": (
            request.workload.sandbox_minutes if request.workload else None,
            budget.max_sbx_minutes,
        ),
        "maxWallClockMS": (request.timeout_ms, budget.max_wall_clock_ms),
    }
    for metric, (value, limit) in observed.items():
        if value is not None and value > limit:
            raise PolicyViolation(budget_violation(metric, value, limit, "ingress"))


def _check_caps(request: RunRequest, recipe: Recipe) -> None:
    if request.workload is None:
        return
    caps = (
        ("concurrency", request.workload.concurrency, recipe.max_concurrency),
        ("steps", request.workload.steps, recipe.max_steps),
        ("sandboxMinutes", request.workload.sandbox_minutes, recipe.max_sandbox_minutes),
    )
    for name, value, cap in caps:
        if value > cap:
            raise PolicyViolation(f"recipe cap exceeded: {name} {value} > {cap}")
