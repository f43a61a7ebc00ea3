"""What a run may use while it works, and the evidence when it would use more (reference §B5). Pure.

The same limits are held to what a caller announces in `policy.py`, before anything is written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sisu_pipeline.domain.policy import budget_violation

SCOPE = "runtime"


@dataclass(frozen=True)
class Usage:
    """What a fan-out used: the longest task (ms), all its content (bytes), its most stubborn task's attempts."""

    longest_ms: int
    artifact_bytes: int
    most_attempts: int


@dataclass(frozen=True)
class Violation:
    """A limit and what was observed beyond it."""

    metric: str
    limit: int
    observed: int

    @property
    def reason(self) -> str:
        """In the one wording of a broken budget."""
        return budget_violation(self.metric, self.observed, self.limit, SCOPE)


class BudgetExceeded(Exception):
    """The run would use more than its budget."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.reason)
        self.violation = violation


Budget = Mapping[str, Any] | None


def hold_fan_out(budget: Budget, tasks: int) -> None:
    """Raise BudgetExceeded for more tasks than `maxFanout`."""
    _hold(budget, [("maxFanout", tasks)])


def hold_wall_clock(budget: Budget, elapsed_ms: int) -> None:
    """Raise BudgetExceeded for a run older than `maxWallClockMS`; a person's thinking time counts."""
    _hold(budget, [("maxWallClockMS", elapsed_ms)])


def hold_usage(budget: Budget, usage: Usage) -> None:
    """Raise BudgetExceeded for what the tasks used, the first metric in the reference's order."""
    _hold(
        budget,
        [
            ("maxSBXMinutes", _ceil(usage.longest_ms, 60_000)),
            ("maxArtifactsMB", _ceil(usage.artifact_bytes, 1024 * 1024)),
            ("maxRetriesPerStep", usage.most_attempts - 1),
        ],
    )


def _hold(budget: Budget, observed: Iterable[tuple[str, int]]) -> None:
    for metric, value in observed:
        limit = (budget or {}).get(metric)
        if limit is not None and value > limit:
            raise BudgetExceeded(Violation(metric, limit, value))


def _ceil(amount: int, unit: int) -> int:
    return -(-amount // unit)
