"""The real OpenCode, in the real sandbox, against a scripted model."""

import asyncio
import json
from pathlib import Path

import pytest

from resources.planner.acp import recording
from resources.planner.acp.agent_planner import AgentAnswer, AgentPlanner, AgentQuestion, QuestionFailed
from resources.planner.acp.agent_settings import AgentSettings
from resources.planner.acp.recording import Recording
from resources.planner.acp.scratch import FilesScratch
from resources.planner.acp.session_replay import replay
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.steps.agent_prompts import REPAIR
from tests.builders import an_intent
from tests.integration.planner import opencode
from tests.integration.planner.conftest import model_settings
from tests.support.acp.model_answers import Turn
from tests.support.acp.scripted_agent import GOOD_PLAN
from tests.support.acp.scripted_model import KEY, ScriptedModel

PROMPTS = ["Greet by name", REPAIR]
OLD = 'def greet():\n    return "hello"\n'
NEW = 'def greet(name="you"):\n    return f"hello {name}"\n'
READ: Turn = ("read", {"filePath": "greet.py"})
EDIT: Turn = ("edit", {"filePath": "greet.py", "oldString": OLD, "newString": NEW})
CHECK: Turn = ("bash", {"command": "python3 -c 'import greet; print(greet.greet())'", "description": "Runs it"})
PLAN: Turn = ("sisu_submit_plan", GOOD_PLAN)
WRONG: Turn = ("sisu_submit_plan", {**GOOD_PLAN, "design": "not a list"})
LOOK: Turn = ("bash", {"command": "python3 look.py", "description": "Looks around"})
LOOKER = """
import os, pathlib, socket
print(dict(os.environ))
for path in ("/proc/1/environ", "/proc/1/cmdline", "/root", "/etc/shadow", "/home", "/run", "/opt"):
    path = pathlib.Path(path)
    print(path, [*map(str, path.iterdir())] if path.is_dir() else path.exists())
try:
    socket.create_connection(("1.1.1.1", 53), 1)
except OSError as error:
    print(error)
"""
PLUGIN = "export const X = async () => { require('fs').writeFileSync('/work/ran.txt', 'x'); return {} }"


def ask(folder: Path, model: ScriptedModel, turns: list[Turn], **files: str) -> AgentAnswer | QuestionFailed:
    """Ask OpenCode, whose model plays these turns."""
    model.scripts["m"] = turns
    binary = opencode.installed()
    settings = AgentSettings(
        argv=(str(binary), "acp"),
        home=folder / "agents",
        model=model_settings(model),
        start_s=120,
        idle_s=60,
    )
    planner = AgentPlanner(settings)

    async def asked() -> AgentAnswer | QuestionFailed:
        try:
            given = {path: FileState(text.encode()) for path, text in {"greet.py": OLD, **files}.items()}
            return await planner.ask(AgentQuestion("key", PROMPTS, FilesScratch(given)))
        except QuestionFailed as failed:
            return failed

    try:
        return asyncio.run(asked())
    finally:
        planner.close()


@pytest.mark.slow
def test_opencode_edits_checks_corrects_its_plan_and_its_tokens_are_counted(
    folder: Path, model: ScriptedModel
) -> None:
    model.requests.clear()
    answer = ask(folder, model, [READ, EDIT, CHECK, WRONG, PLAN, "Done."])
    assert isinstance(answer, AgentAnswer), answer
    assert answer.plan.to_json() == GOOD_PLAN
    assert [(patch["targetPath"], patch["postimageContent"]) for patch in answer.changes.patches] == [
        ("greet.py", NEW)
    ]
    evidence = answer.evidence
    assert evidence.agent_name == "OpenCode" and evidence.agent_version == opencode.VERSION
    assert evidence.tool_calls == {"edit": 1, "execute": 1, "other": 2, "read": 1}
    assert evidence.model_calls == len(model.requests) >= 6
    assert evidence.input_tokens == 1000 * evidence.model_calls
    assert evidence.output_tokens == 50 * evidence.model_calls
    assert {request["authorization"] for request in model.requests} == {f"Bearer {KEY}"}
    assert KEY not in json.dumps(evidence.transcript)
    # The recorded session is played without OpenCode and without a model.
    intent = an_intent("Greet by name", inputs={"files": {"greet.py": OLD}})
    recorded = Recording(
        intent, PROMPTS, GOOD_PLAN, answer.changes.patches, evidence.transcript, answer.changes.before
    )
    recording.write(folder / "opencode.session.json", recorded)
    replayed = replay(folder / "opencode.session.json")
    assert replayed.differences == [] and replayed.changes_sha256 == answer.changes.sha256
    assert replayed.frames == len(evidence.transcript["frames"]) and replayed.agent == "OpenCode"


@pytest.mark.slow
def test_opencode_that_forgets_the_plan_is_prompted_again(folder: Path, model: ScriptedModel) -> None:
    answer = ask(folder, model, ["I would greet by name.", PLAN, "Done."])
    assert isinstance(answer, AgentAnswer), answer
    assert answer.evidence.stop_reasons == ("end_turn", "end_turn")


def test_what_opencode_runs_sees_no_key_no_host_and_no_network(folder: Path, model: ScriptedModel) -> None:
    model.requests.clear()
    answer = ask(folder, model, [LOOK, PLAN, "Done."], **{"look.py": LOOKER})
    assert isinstance(answer, AgentAnswer), answer
    messages = [message for request in model.requests for message in request["messages"]]
    seen = json.dumps(next(message["content"] for message in messages if message["role"] == "tool"))
    assert KEY not in seen and KEY not in json.dumps(answer.evidence.transcript)
    assert "DATABASE_URL" not in seen and "Network is unreachable" in seen
    for line in ("/proc/1/environ False", "/root False", "/etc/shadow False", "/home ['/home/agent']"):
        assert line in seen
    assert "/run ['/run/sisu']" in seen


@pytest.mark.slow
def test_a_plugin_that_the_intent_carries_does_not_run(folder: Path, model: ScriptedModel) -> None:
    answer = ask(folder, model, [PLAN, "Done."], **{".opencode/plugin/x.js": PLUGIN})
    assert isinstance(answer, AgentAnswer), answer
    assert answer.changes.patches == []


@pytest.mark.slow
@pytest.mark.parametrize("status", [400, 401])
def test_an_error_of_the_model_that_repeats_itself_fails_at_once(
    folder: Path, model: ScriptedModel, status: int
) -> None:
    model.status = status
    try:
        failed = ask(folder, model, [PLAN])
    finally:
        model.status = 200
    assert isinstance(failed, QuestionFailed)
    assert failed.failure.code == "model_error" and f"answered {status}" in str(failed)
