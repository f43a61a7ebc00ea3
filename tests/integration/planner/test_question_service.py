"""Questions in the ledger: sessions are recorded once, answers become plans, recordings can be played."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resources.git.repository_address import AllowedRepositories
from resources.planner.acp.agent_planner import AgentPlanner
from resources.planner.acp.agent_settings import AgentSettings
from resources.planner.acp.playback_planner import PlaybackPlanner
from resources.planner.acp.session_replay import replay
from resources.planner.planner_port import Question
from resources.planner.replay_planner import ReplayPlanner
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing import question_service
from sisu_pipeline.queueing.question_service import QuestionService
from sisu_pipeline.steps.compile import plan_prompt
from sisu_pipeline.store import plan_questions, runs
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import ownership, step_execution
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.planning import agent_plans
from sisu_pipeline.workflow.run_failure import end_run
from tests.builders import a_run, an_intent
from tests.integration.git.repositories import make_repository, mirrors_in
from tests.integration.oracle.world import ANSWERED, FAILED
from tests.integration.planner.conftest import model_settings, scripted_settings
from tests.support.acp.scripted_agent import GOOD_PLAN
from tests.support.acp.scripted_model import ScriptedModel

OLD, NEW = "def greet():\n    return 'hello'\n", "def greet(name):\n    return name\n"
INTENT = an_intent("Greet by name", inputs={"files": {"greet.py": OLD, "old.py": "x = 1\n"}})
CHANGE = {"prompts": [[{"write": {"greet.py": NEW}}, {"shell": "mv old.py new.py"}, {"submit": GOOD_PLAN}]]}
MODEL_CALL = {"model": {"model": "m", "stream": True, "messages": []}}
BUDGET = {
    "maxFanout": 10,
    "maxSBXMinutes": 10,
    "maxArtifactsMB": 10,
    "maxRetriesPerStep": 3,
    "maxWallClockMS": 600_000,
}


@pytest.fixture
def asking(dependencies: Dependencies) -> Dependencies:
    """Dependencies of a deployment whose plans an agent makes."""
    return replace(dependencies, asks_agent=True)


def asked(
    dependencies: Dependencies, intent: Intent = INTENT, **request: Any
) -> tuple[Run, plan_questions.PlanQuestion]:
    """A running run and its question."""
    with dependencies.database.connect() as connection:
        run = a_run(connection, intent, **request)
    ownership.enter(dependencies.database, run.workflow_id, "dagster-1")
    found = agent_plans.ask(dependencies, run.workflow_id)
    assert found is not None
    return found


def settle(
    dependencies: Dependencies,
    folder: Path,
    script: dict[str, Any],
    op_key: str,
    model: ScriptedModel | None = None,
    records: Path | None = None,
    **prices: Any,
) -> None:
    """Ask the scripted agent until the question is settled."""
    settings = scripted_settings(folder, script, model=None if model is None else model_settings(model, **prices))
    planner = AgentPlanner(settings)
    try:
        asyncio.run(QuestionService(dependencies, planner, settings, records).settle(op_key))
    finally:
        planner.close()


def rows(dependencies: Dependencies) -> list[dict[str, Any]]:
    """The ledger."""
    with dependencies.database.connect() as connection:
        return connection.execute("SELECT * FROM app.opencode_calls ORDER BY try").fetchall()


def test_an_answer_is_recorded_compiled_and_played_back(asking: Dependencies, folder: Path) -> None:
    run, question = asked(asking)
    settle(asking, folder, CHANGE, question.op_key, records=folder / "oc")
    result = step_execution.compile_intent(asking, run.workflow_id)
    patches = {patch["targetPath"]: patch["op"] for patch in result.output["patchPlan"]}
    assert patches == {"greet.py": "modify", "new.py": "rename"}
    # The fixture answers the same question in OC_MODE=replay, and the session beside it can be played.
    plan_question = Question("plan", plan_prompt(INTENT), INTENT)
    replayed = ReplayPlanner(folder / "oc").answer(plan_question)
    assert replayed.structured == rows(asking)[0]["structured"]
    (session,) = (folder / "oc").glob("*.session.json")
    played = replay(session)
    assert played.is_equal and played.changes_sha256 == rows(asking)[0]["changes_sha256"]


def test_a_played_session_that_ends_in_another_plan_is_reported(asking: Dependencies, folder: Path) -> None:
    _, question = asked(asking)
    settle(asking, folder, CHANGE, question.op_key, records=folder / "oc")
    (session,) = (folder / "oc").glob("*.session.json")
    session.write_text(session.read_text().replace("test_greet", "test_other", 1))
    assert replay(session).differences == ["the plan differs"]


def test_a_recorded_session_answers_for_equal_files_wherever_their_repository_is(
    asking: Dependencies, folder: Path, tmp_path: Path
) -> None:
    records = folder / "oc"
    on_commit = replace(
        asking,
        mirrors=mirrors_in(tmp_path),
        allowed_repositories=AllowedRepositories((str(tmp_path),)),
        planner=ReplayPlanner(records),
    )

    def intent_in(name: str, old: str = OLD) -> Intent:
        make_repository(tmp_path / name, {"greet.py": old, "old.py": "x = 1\n", ".opencode/plugin.js": "evil()"})
        return an_intent("Greet by name", inputs={"repo": {"path": str(tmp_path / name), "ref": "main"}})

    def played(intent: Intent) -> dict[str, Any]:
        """The ledger's row of a question that is answered by playback."""
        _, question = asked(on_commit, intent)
        planner = PlaybackPlanner(AgentSettings(argv=("playback",), home=folder / "agents"), records)
        asyncio.run(QuestionService(on_commit, planner, planner.settings).settle(question.op_key))
        return next(row for row in rows(on_commit) if row["op_key"] == question.op_key)

    _, question = asked(on_commit, intent_in("first"))
    settle(on_commit, folder, CHANGE, question.op_key, records=records)
    (recorded,) = rows(on_commit)
    assert str(tmp_path) not in "".join(path.read_text() for path in records.iterdir())
    second = played(intent_in("second"))
    assert (second["agent_name"], second["model_calls"]) == ("scripted", 0)
    assert second["changes_sha256"] == recorded["changes_sha256"]
    # OC_MODE=replay takes the recorded answer, without playing the session.
    with on_commit.database.connect() as connection:
        run = a_run(connection, intent_in("third"))
    result = step_execution.compile_intent(replace(on_commit, asks_agent=False), run.workflow_id)
    patches = {patch["targetPath"]: patch["op"] for patch in result.output["patchPlan"]}
    assert patches == {"greet.py": "modify", "new.py": "rename"}
    assert played(intent_in("other", old="\n"))["error"]["code"] == "not_recorded"


def test_an_agent_plans_on_the_commit_of_a_repository(asking: Dependencies, folder: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    commit = make_repository(project, {"greet.py": OLD, "old.py": "x = 1\n", ".opencode/plugin.js": "evil()"})
    on_commit = replace(
        asking, mirrors=mirrors_in(tmp_path), allowed_repositories=AllowedRepositories((str(tmp_path),))
    )
    intent = an_intent("Greet by name", inputs={"repo": {"path": str(project), "ref": "main"}})
    run, question = asked(on_commit, intent)
    script = {"prompts": [[{"shell": "test ! -e .opencode"}, *CHANGE["prompts"][0]]]}
    settle(on_commit, folder, script, question.op_key)
    result = step_execution.compile_intent(on_commit, run.workflow_id)
    patches = {patch["targetPath"]: patch["op"] for patch in result.output["patchPlan"]}
    assert patches == {"greet.py": "modify", "new.py": "rename"}
    assert result.sealed is not None and result.sealed.read().base.commit == commit


def test_the_same_question_is_asked_once(asking: Dependencies, folder: Path) -> None:
    run, question = asked(asking)
    assert agent_plans.ask(asking, run.workflow_id) == (run, question)
    settle(asking, folder, CHANGE, question.op_key)
    assert agent_plans.ask(asking, run.workflow_id) is None
    settle(asking, folder, CHANGE, question.op_key)
    assert [row["outcome"] for row in rows(asking)] == ["answered"]


def test_a_late_answer_is_not_stored(asking: Dependencies) -> None:
    run, question = asked(asking)
    with asking.database.connect() as connection:

        def store(number: int, session: plan_questions.Session) -> bool:
            return plan_questions.store(connection, question, number, session, is_final=True, blobs=asking.blobs)

        assert (store(1, FAILED), store(1, ANSWERED), store(2, ANSWERED)) == (True, False, False)
        settled = plan_questions.settled(connection, run)
    assert settled is not None and settled.outcome == "failed"


def test_what_earlier_tries_used_counts_toward_the_budget(
    asking: Dependencies, folder: Path, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question_service, "FIRST_BACKOFF_S", 0)
    _, question = asked(asking, budget={**BUDGET, "maxPlanTokens": 2000})
    script = {"prompts": [[MODEL_CALL, {"kill": True}]]}
    settle(asking, folder, script, question.op_key, model)
    codes = [(row["error"]["code"], row["input_tokens"] + row["output_tokens"]) for row in rows(asking)]
    # 950 tokens were left after the first try; the call of the second one exceeded them.
    assert codes[0] == ("agent_ended", 1050) and codes[-1][0] == "budget_exceeded"
    assert len(codes) <= 3


def test_a_limit_of_money_without_prices_starts_no_agent(
    asking: Dependencies, folder: Path, model: ScriptedModel
) -> None:
    _, question = asked(asking, budget={**BUDGET, "maxPlanCostUSD": 0.5})
    settle(asking, folder, CHANGE, question.op_key, model, input_price=None, output_price=None)
    (row,) = rows(asking)
    assert (row["error"]["code"], row["agent_name"]) == ("budget_exceeded", None)
    assert "set OC_INPUT_PRICE and OC_OUTPUT_PRICE" in row["error"]["message"]


def test_a_run_that_asked_an_agent_is_not_planned_without_one(asking: Dependencies) -> None:
    run, _ = asked(asking)
    assert ownership.suspend(asking.database, run.workflow_id)
    in_replay_mode = replace(asking, asks_agent=False)
    with pytest.raises(agent_plans.PlanMissing, match="waits for the plan of a coding agent"):
        step_execution.compile_intent(in_replay_mode, run.workflow_id)
    with asking.database.connect() as connection:
        assert runs.get(connection, run.id).error is not None


def test_a_canceled_run_asks_no_agent(asking: Dependencies, folder: Path) -> None:
    run, question = asked(asking)
    end_run(asking, run.id, RunStatus.CANCELED, "canceled")
    settle(asking, folder, CHANGE, question.op_key)
    assert rows(asking) == []
