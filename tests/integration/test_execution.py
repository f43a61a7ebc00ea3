"""An intent from plan to result through step_execution.py, without Dagster and DBOS."""

from dataclasses import replace
from pathlib import Path

import pytest

from resources.planner.planner_port import Question
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.step_outputs import PlannerOutput, StepId
from sisu_pipeline.domain.canonical import same_json
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import runs
from sisu_pipeline.workflow import step_execution, task_planning
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.integration.life import BUDGET, FILES, PATCHES, Life, ended


def test_an_approved_intent_goes_from_plan_to_result(dependencies: Dependencies) -> None:
    life = Life(dependencies, tests=["a", "b", "a"], testCommand="pytest", files=FILES, patches=PATCHES)
    life.plan()
    life.wait()
    assert step_execution.decide_plan(dependencies, life.id) is None
    life.say(Decision.APPROVED)
    with dependencies.database.connect() as connection:
        runs.move(connection, life.run, RunStatus.RUNNING)
    life.decide()
    result = life.execute(ended())
    assert result.output["stdout"] == "OK: pytest a\n\n---\nOK: pytest b\n"
    assert (life.run.status, life.run.last_step, life.run.error) == (RunStatus.SUCCEEDED, "ExecuteST", None)
    assert life.files() == {"a.txt": "after\n", "keep.txt": "keep\n", "new/b.txt": "new\n"}
    # plan card, two patches, one sentinel, six artifacts of each of two tasks
    assert life.counts() == {"steps": 4, "artifacts": 1 + 2 + 1 + 2 * 6, "gates": 1, "tasks": 2}


def test_every_sandbox_is_given_the_patched_files(dependencies: Dependencies) -> None:
    life = Life(dependencies, tests=["a", "b"], files=FILES, patches=PATCHES)
    life.approve()
    for task in task_planning.plan_tasks(dependencies, life.id):
        assert {file.path: file.inline for file in task.request.files_in} == {
            "a.txt": "after\n",
            "keep.txt": "keep\n",
            "new/b.txt": "new\n",
        }


class NeverAsked:
    """A planner that must not be asked."""

    name = "never"

    def answer(self, question: Question) -> PlannerOutput:
        raise AssertionError(f"asked again: {question.agent}")

    def recorded(self, question: Question) -> PlannerOutput | None:
        raise AssertionError(f"looked up again: {question.agent}")


def test_a_step_with_a_stored_result_never_works_again(dependencies: Dependencies) -> None:
    life = Life(dependencies, tests=["a"], patches=PATCHES)
    first = [life.compile(), life.patch()]
    life.say(Decision.APPROVED)
    first += [life.decide(), life.execute(ended())]
    before = life.counts()
    life.dependencies = replace(dependencies, planner=NeverAsked())
    again = [
        step_execution.compile_intent(life.dependencies, life.id),
        step_execution.apply_patches(life.dependencies, life.id),
        step_execution.decide_plan(life.dependencies, life.id),
        step_execution.collect(life.dependencies, life.id),
    ]
    for earlier, later in zip(first, again, strict=True):
        assert later is not None
        assert later.is_replay
        assert same_json(later.output, earlier.output)
        life.commit(later)
    step_execution.finish(life.dependencies, life.id, first[-1])
    assert life.counts() == before


def test_the_tasks_are_the_same_on_every_call_and_machine(dependencies: Dependencies, tmp_path: Path) -> None:
    life = Life(dependencies, tests=["a", "b"], files=FILES, patches=PATCHES)
    life.approve()
    elsewhere = replace(dependencies, workspaces=tmp_path / "another machine")
    assert task_planning.plan_tasks(dependencies, life.id) == task_planning.plan_tasks(elsewhere, life.id)


def test_an_early_approval_of_this_plan_counts(dependencies: Dependencies) -> None:
    life = Life(dependencies)
    life.compile()
    patched = step_execution.apply_patches(dependencies, life.id)
    assert patched is not None and patched.gate is not None
    life.say(Decision.APPROVED, plan_sha256=patched.gate.plan_sha256)
    life.commit(patched)
    life.decide()
    assert life.run.last_step == "DecideST"


def test_a_stored_output_is_read_and_a_missing_one_is_an_error(dependencies: Dependencies) -> None:
    life = Life(dependencies)
    with pytest.raises(LookupError, match="CompileST"):
        step_execution.stored_output(dependencies, life.id, StepId.COMPILE)
    result = life.compile()
    assert step_execution.stored_output(dependencies, life.id, StepId.COMPILE) == result.output


def test_repeated_tests_count_once_against_the_budget(dependencies: Dependencies) -> None:
    life = Life(dependencies, budget=BUDGET, tests=["a", "b", "a", "b"])
    life.approve()
    assert len(task_planning.plan_tasks(dependencies, life.id)) == 2
