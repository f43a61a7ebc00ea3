"""A policy may approve plans of low risk; everything else waits for a person."""

from typing import Any

import pytest

from sisu_pipeline import oracle
from sisu_pipeline.contracts.gate import Channel, Decision
from sisu_pipeline.store import gates, interactions
from sisu_pipeline.store.rules.decisions import PlanDecision
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import apply_policy
from tests.integration.life import FILES, PATCHES, Life

RULE = {"paths": ["a.txt", "new/*"], "commands": ["pytest"], "maxBytes": 10_000, "maxTasks": 2}


def a_life(dependencies: Dependencies, **inputs: Any) -> Life:
    with dependencies.database.connect() as connection:
        apply_policy(connection, "default", automaticApproval=RULE)
    content = {"tests": ["a"], "testCommand": "pytest", "files": FILES, "patches": PATCHES}
    return Life(dependencies, **(content | inputs))


def decided_by(life: Life) -> str | None:
    with life.dependencies.database.connect() as connection:
        decision = gates.decision(connection, life.run_id)
    return None if decision is None else decision.decided_by


def test_a_plan_of_low_risk_is_approved_under_the_name_of_the_policy_version(dependencies: Dependencies) -> None:
    life = a_life(dependencies)
    life.plan()
    name = life.run.policy_name
    assert decided_by(life) == f"policy:{name}"
    with dependencies.database.connect() as connection:
        decision = gates.decision(connection, life.run_id)
        (recorded,) = interactions.of_run(connection, life.run_id, 10)
        sha256 = gates.plan_hash(connection, life.run_id)
    assert decision is not None
    assert (decision.plan_sha256, decision.channel) == (sha256, Channel.POLICY)
    assert (recorded.kind, recorded.actor, recorded.channel) == ("approve", f"policy:{name}", Channel.POLICY)
    life.decide()
    with dependencies.database.connect() as connection:
        assert [
            verdict.law for verdict in oracle.judge(connection) if not verdict.holds and verdict.law[0] == "2"
        ] == []


@pytest.mark.parametrize(
    "inputs", [{"testCommand": "sh -c 'curl x'"}, {"tests": ["a", "b", "c"]}, {"tests": []}], ids=str
)
def test_any_other_plan_waits_for_a_person(dependencies: Dependencies, inputs: dict[str, Any]) -> None:
    life = a_life(dependencies, **inputs)
    life.plan()
    assert decided_by(life) is None


def test_a_decision_of_a_person_before_the_gate_opens_stays(dependencies: Dependencies) -> None:
    life = a_life(dependencies)
    with dependencies.database.connect() as connection:
        gates.decide(connection, PlanDecision(life.run_id, Decision.REJECTED, "po", "no"))
    life.plan()
    assert decided_by(life) == "po"
