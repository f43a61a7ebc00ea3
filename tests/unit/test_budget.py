"""Budgets at run time: which limit is broken first, in which words, with which evidence."""

import pytest

from sisu_pipeline.domain import budget
from sisu_pipeline.domain.budget import BudgetExceeded, Usage, Violation
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.steps.budget_evidence import budget_evidence

LIMITS = {
    "maxFanout": 2,
    "maxSBXMinutes": 1,
    "maxArtifactsMB": 1,
    "maxRetriesPerStep": 0,
    "maxWallClockMS": 1000,
}
MIB = 1024 * 1024


def test_what_is_at_its_limit_holds() -> None:
    budget.check_fan_out(LIMITS, 2)
    budget.check_wall_clock(LIMITS, 1000)
    budget.check_usage(LIMITS, Usage(longest_ms=60_000, artifact_bytes=MIB, most_attempts=1))


def test_without_a_budget_nothing_is_too_much() -> None:
    budget.check_fan_out(None, 10_000)
    budget.check_wall_clock(None, 10**12)
    budget.check_usage(None, Usage(10**9, 10**12, 3))


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        (Usage(60_001, MIB + 1, 2), "budget:maxSBXMinutes: observed 2 > limit 1 (runtime)"),
        (Usage(0, MIB + 1, 2), "budget:maxArtifactsMB: observed 2 > limit 1 (runtime)"),
        (Usage(0, 0, 3), "budget:maxRetriesPerStep: observed 2 > limit 0 (runtime)"),
    ],
)
def test_the_first_broken_limit_is_named_in_the_references_order(usage: Usage, message: str) -> None:
    with pytest.raises(BudgetExceeded) as broken:
        budget.check_usage(LIMITS, usage)
    assert str(broken.value) == message


def test_each_broken_limit_is_evidence_in_the_references_shape() -> None:
    violation = Violation("maxWallClockMS", 1000, 1001)
    artifact = budget_evidence("run_1", 0, violation)
    inner = {
        "kind": "budget",
        "metric": "maxWallClockMS",
        "scope": "runtime",
        "limit": 1000,
        "observed": 1001,
        "unit": "ms",
        "outcome": "blocked",
        "reason": "budget:maxWallClockMS: observed 1001 > limit 1000 (runtime)",
    }
    assert (artifact.step_id, artifact.task_key, artifact.idx) == ("BUDGET", "maxWallClockMS", 0)
    assert (artifact.kind, artifact.inline) == ("json_diagnostic", {"json": inner})
    assert artifact.sha256 == sha256_json(inner)
    assert artifact.uri == "artifact://run/run_1/step/BUDGET/task/maxWallClockMS/maxWallClockMS.json"


def test_a_retry_that_breaks_a_limit_again_leaves_its_own_evidence() -> None:
    first, second = (budget_evidence("run_1", retry, Violation("maxFanout", 1, 2)) for retry in (0, 1))
    assert (first.idx, second.idx) == (0, 1)
    assert first.uri != second.uri
