"""Rounds with a real agent in its sandbox: planned, recorded, and kept out of the gate when they fail."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resources.git.repository_address import AllowedRepositories
from resources.planner.acp.agent_planner import AgentPlanner
from resources.planner.acp.session_replay import replay
from resources.planner.replay_planner import ReplayPlanner
from sisu_pipeline import oracle
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.domain.changes.plan_changes import changes_of
from sisu_pipeline.queueing import question_service
from sisu_pipeline.queueing.question_service import QuestionService
from sisu_pipeline.store import bases, change_requests, intents, plan_questions, plans
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import ownership, step_execution
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.planning import plan_rounds
from sisu_pipeline.workflow.planning.plan_rounds import WantedChanges
from tests.builders import a_run, an_intent
from tests.integration.git.repositories import make_repository, mirrors_in
from tests.integration.planner.conftest import scripted_settings
from tests.support.acp.scripted_agent import GOOD_PLAN

OLD, NEW, REVISED = "def greet():\n    return 1\n", "def greet(name):\n    return name\n", "def greet(*names):\n"
INTENT = an_intent("Greet by name", inputs={"files": {"greet.py": OLD, "old.py": "x = 1\n"}})
COMMENT = "Accept several names"
SCRIPT = {
    "prompts": [[{"write": {"greet.py": NEW}}, {"submit": GOOD_PLAN}]],
    "changes": {
        COMMENT: [[{"write": {"greet.py": REVISED, "more.py": "y = 2\n"}}, {"submit": GOOD_PLAN}]],
        "die": [[{"kill": True}]],
    },
}


@pytest.fixture
def asking(dependencies: Dependencies) -> Iterator[Dependencies]:
    """Dependencies of a deployment whose plans an agent makes."""
    yield replace(dependencies, asks_agent=True)


def planned(dependencies: Dependencies, intent: Intent = INTENT) -> Run:
    """A run at its gate, with a plan of the built-in planner."""
    planning = replace(dependencies, asks_agent=False)
    with dependencies.database.connect() as connection:
        run = a_run(connection, intent)
    ownership.enter(dependencies.database, run.workflow_id, "dagster-1")
    for step in (step_execution.compile_intent, step_execution.apply_patches):
        result = step(planning, run.workflow_id)
        assert result is not None
        step_execution.commit(planning, run.workflow_id, result)
    assert ownership.suspend(dependencies.database, run.workflow_id)
    return run


def requested(dependencies: Dependencies, run: Run, comment: str = COMMENT) -> plan_questions.PlanQuestion:
    """The question of a request for changes."""
    with dependencies.database.connect() as connection:
        made = plan_rounds.request(dependencies, connection, WantedChanges(run.id, "ann", comment))
        question = plan_questions.of_round(connection, run.id, made.round)
    assert question is not None
    return question


def settle(
    dependencies: Dependencies, folder: Path, op_key: str, records: Path | None = None, **script: Any
) -> None:
    """Ask the scripted agent until the question is settled."""
    settings = scripted_settings(folder, SCRIPT | script)
    planner = AgentPlanner(settings)
    try:
        asyncio.run(QuestionService(dependencies, planner, settings, records).settle(op_key))
    finally:
        planner.close()


def plan_files(dependencies: Dependencies, run: Run) -> dict[str, str | None]:
    """The files that the run's newest plan changes."""
    with dependencies.database.connect() as connection:
        plan = plans.current(connection, run.id).read()
        files = bases.files(connection, run.id, intents.get(connection, run.intent_id))
    changed = changes_of(plan, files)
    return {change.path: None if change.new is None else change.new.text for change in changed}


def lawful(dependencies: Dependencies) -> None:
    """Every law holds."""
    with dependencies.database.connect() as connection:
        broken = {verdict.law: verdict.rows for verdict in oracle.judge(connection) if not verdict.holds}
    assert broken == {}


def test_a_round_is_planned_recorded_and_played_back(asking: Dependencies, folder: Path) -> None:
    run = planned(asking)
    question = requested(asking, run)
    settle(asking, folder, question.op_key, records=folder / "oc")
    assert plan_files(asking, run) == {"greet.py": REVISED, "more.py": "y = 2\n"}
    lawful(asking)
    # The fixture of the round answers the same request in OC_MODE=replay, and its session can be played.
    assert ReplayPlanner(folder / "oc").recorded(plan_rounds.recorded_question(INTENT, question.prompt)) is not None
    (session,) = (folder / "oc").glob("*.session.json")
    assert replay(session).is_equal


def test_the_agent_finds_the_files_as_they_were_and_reads_the_earlier_change(
    asking: Dependencies, folder: Path
) -> None:
    run = planned(asking)
    first = requested(asking, run)
    settle(asking, folder, first.op_key)
    second = requested(asking, run, "Only one file")
    assert "+def greet(*names):" in second.prompt and "+y = 2" in second.prompt and "Only one file" in second.prompt
    turn = [{"shell": "test ! -e more.py"}, {"write": {"greet.py": NEW}}, {"submit": GOOD_PLAN}]
    settle(asking, folder, second.op_key, changes={"Only one file": [turn]})
    assert plan_files(asking, run) == {"greet.py": NEW}
    with asking.database.connect() as connection:
        versions = plans.edits(connection, run.id)
    assert [(each.version, each.round, each.agent) for each in versions] == [
        (2, 2, "scripted 1.2.3"),
        (3, 3, "scripted 1.2.3"),
    ]
    lawful(asking)


def test_a_round_changes_files_of_the_commit_that_no_plan_changed_before(
    asking: Dependencies, folder: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    make_repository(project, {"greet.py": OLD, "old.py": "x = 1\n"})
    on_commit = replace(
        asking, mirrors=mirrors_in(tmp_path), allowed_repositories=AllowedRepositories((str(tmp_path),))
    )
    patches = [{"targetPath": "old.py", "postimageContent": "x = 2\n"}]
    repo = {"path": str(project), "ref": "main"}
    run = planned(on_commit, an_intent("Greet by name", inputs={"repo": repo, "patches": patches}))
    settle(on_commit, folder, requested(on_commit, run).op_key)
    assert plan_files(on_commit, run) == {"greet.py": REVISED, "more.py": "y = 2\n"}
    lawful(on_commit)


def test_an_agent_that_fails_three_times_gives_the_round_up(
    asking: Dependencies, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question_service, "FIRST_BACKOFF_S", 0)
    run = planned(asking)
    settle(asking, folder, requested(asking, run, "die").op_key)
    with asking.database.connect() as connection:
        sessions = plan_questions.sessions(connection, run.id)
        (made,) = change_requests.of_run(connection, run.id)
        assert plans.current(connection, run.id).number == 1
    assert [each.round for each in sessions] == [2, 2, 2]
    assert made.outcome == "failed" and made.error is not None and made.error.startswith("the agent ended")
    lawful(asking)


def test_a_failure_around_the_agent_ends_the_round_and_not_the_run(asking: Dependencies, folder: Path) -> None:
    run = planned(asking)
    question = requested(asking, run)
    settings = scripted_settings(folder, SCRIPT)
    planner = AgentPlanner(settings)
    service = QuestionService(asking, planner, settings)
    service.give_up(question.op_key, "the plan could not be requested or stored")
    service.give_up(question.op_key, "another failure comes too late")
    planner.close()
    with asking.database.connect() as connection:
        (made,) = change_requests.of_run(connection, run.id)
    assert (made.outcome, made.error) == ("failed", "the plan could not be requested or stored")
    lawful(asking)


def test_a_settled_round_is_not_asked_again(asking: Dependencies, folder: Path) -> None:
    run = planned(asking)
    question = requested(asking, run)
    settle(asking, folder, question.op_key)
    settle(asking, folder, question.op_key)
    with asking.database.connect() as connection:
        assert [each.error for each in plan_questions.sessions(connection, run.id)] == [None]
