"""Budgets of a run, checked while it executes.

`policy.py` checks the same limits against the workload that a caller announces, before anything is written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sisu_pipeline.domain.policy import budget_violation

SCOPE = "runtime"


@dataclass(frozen=True)
class Usage:
    """Usage of a fan-out: the longest task (ms), the size of all artifacts (bytes), the most attempts of a task."""

    longest_ms: int
    artifact_bytes: int
    most_attempts: int


@dataclass(frozen=True)
class Violation:
    """A limit and the observed value that exceeds it."""

    metric: str
    limit: int
    observed: int

    @property
    def reason(self) -> str:
        """The message for a broken budget."""
        return budget_violation(self.metric, self.observed, self.limit, SCOPE)


class BudgetExceeded(Exception):
    """The run would exceed its budget."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.reason)
        self.violation = violation


Budget = Mapping[str, Any] | None


def check_fan_out(budget: Budget, tasks: int) -> None:
    """Raise BudgetExceeded for more tasks than `maxFanout`."""
    _check(budget, [("maxFanout", tasks)])


def check_wall_clock(budget: Budget, elapsed_ms: int) -> None:
    """Raise BudgetExceeded for a run older than `maxWallClockMS`; waiting for approval counts."""
    _check(budget, [("maxWallClockMS", elapsed_ms)])


def check_usage(budget: Budget, usage: Usage) -> None:
    """Raise BudgetExceeded for the first limit, in a fixed order, that the usage of the tasks exceeds."""
    _check(
        budget,
        [
            ("maxSBXMinutes", _ceil(usage.longest_ms, 60_000)),
            ("maxArtifactsMB", _ceil(usage.artifact_bytes, 1024 * 1024)),
            ("maxRetriesPerStep", usage.most_attempts - 1),
        ],
    )


def _check(budget: Budget, observed: Iterable[tuple[str, int]]) -> None:
    for metric, value in observed:
        limit = (budget or {}).get(metric)
        if limit is not None and value > limit:
            raise BudgetExceeded(Violation(metric, limit, value))


def _ceil(amount: int, unit: int) -> int:
    return -(-amount // unit)
