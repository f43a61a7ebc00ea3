"""Steps check that their Dagster run owns the intent, on the run's row that they read anyway."""

from collections.abc import Callable
from typing import Any

import pytest

from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing import fan_out
from sisu_pipeline.store import runs
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import ownership, run_failure, step_execution
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.ownership import NotOwner
from sisu_pipeline.workflow.run_failure import RunEnded
from tests.builders import a_run, an_intent
from tests.integration.life import Life

OWNER, OTHER = "dagster-owner", "dagster-other"
STEPS = (
    step_execution.compile_intent,
    step_execution.apply_patches,
    step_execution.decide_plan,
    fan_out.start,
    step_execution.collect,
)


def owned(dependencies: Dependencies, *steps: Callable[[Life], Any]) -> Life:
    """A run that `OWNER` owns, after these steps."""
    life = Life(dependencies, tests=["a"])
    ownership.enter(dependencies.database, life.id, OWNER)
    for step in steps:
        step(life)
    return life


def queued(dependencies: Dependencies, **constraints: Any) -> Run:
    with dependencies.database.connect() as connection:
        return a_run(connection, an_intent(constraints=constraints))


def stored(dependencies: Dependencies, run: Run) -> Run:
    with dependencies.database.connect() as connection:
        return runs.get(connection, run.id)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_another_dagster_run_is_refused_and_ends_nothing(
    dependencies: Dependencies, step: Callable[..., Any]
) -> None:
    life = owned(dependencies, Life.plan)
    before = (life.run, life.counts())
    with pytest.raises(NotOwner, match=f"is running in Dagster run {OWNER}"):
        step(dependencies, life.id, OTHER)
    assert (life.run, life.counts()) == before


def test_a_step_in_a_segment_checks_the_ownership_without_a_lock_or_a_claim(
    dependencies: Dependencies, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = owned(dependencies, Life.plan, lambda life: life.say(Decision.APPROVED))

    def unexpected(*_: object) -> None:
        raise AssertionError("the segment has entered already")

    monkeypatch.setattr(runs, "lock", unexpected)
    monkeypatch.setattr(runs, "claim", unexpected)
    for step in STEPS[:3]:
        assert step(dependencies, life.id, OWNER) is not None


def test_without_a_segment_the_first_step_enters(dependencies: Dependencies) -> None:
    run = queued(dependencies)
    step_execution.compile_intent(dependencies, run.workflow_id, OWNER)
    entered = stored(dependencies, run)
    assert (entered.status, entered.dagster_run_id) == (RunStatus.RUNNING, OWNER)


def test_a_step_that_fails_after_it_has_entered_leaves_the_run_to_its_owner(dependencies: Dependencies) -> None:
    run = queued(dependencies)
    with dependencies.database.connect() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")  # intents are append-only
        connection.execute("UPDATE app.intents SET goal = 'another goal'")
    with pytest.raises(Exception, match="does not hash to its id"):
        step_execution.compile_intent(dependencies, run.workflow_id, OWNER)
    failed = stored(dependencies, run)
    assert (failed.status, failed.dagster_run_id) == (RunStatus.RETRIES_EXCEEDED, OWNER)


def test_a_step_behind_a_gate_that_was_passed_meanwhile_sets_the_run_running(dependencies: Dependencies) -> None:
    life = owned(dependencies, Life.plan, Life.wait)
    assert step_execution.decide_plan(dependencies, life.id, OWNER) is None
    assert stored(dependencies, life.run).status == "waiting_input"
    life.say(Decision.APPROVED)
    assert step_execution.decide_plan(dependencies, life.id, OWNER) is not None
    assert stored(dependencies, life.run).status == "running"


@pytest.mark.parametrize("end", [RunStatus.CANCELED, RunStatus.RETRIES_EXCEEDED])
def test_behind_the_closed_gate_of_an_ended_run_no_step_waits(dependencies: Dependencies, end: RunStatus) -> None:
    life = owned(dependencies, Life.plan)
    run_failure.end_run(dependencies, life.run_id, end, "ended at the gate")
    with pytest.raises(RunEnded):
        step_execution.decide_plan(dependencies, life.id, OTHER)


def test_behind_the_unanswered_question_of_an_ended_run_no_step_waits(dependencies: Dependencies) -> None:
    form = {"type": "object", "properties": {"place": {"type": "string"}}}
    run = queued(dependencies, askUser={"question": "Where to?", "form": form})
    result = step_execution.compile_intent(dependencies, run.workflow_id, OWNER)
    step_execution.commit(dependencies, run.workflow_id, result)
    assert step_execution.apply_patches(dependencies, run.workflow_id, OWNER) is None
    run_failure.end_run(dependencies, run.id, RunStatus.RETRIES_EXCEEDED, "ended at the gate")
    with pytest.raises(RunEnded):
        step_execution.apply_patches(dependencies, run.workflow_id, OTHER)
