"""Codex, Claude and Gemini, the real programs in the real sandbox, each against a scripted model of its API."""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from resources.planner.acp import recording
from resources.planner.acp.agent_planner import AgentAnswer, AgentPlanner, AgentQuestion, QuestionFailed
from resources.planner.acp.agent_settings import AgentSettings, Dialect
from resources.planner.acp.recording import Recording
from resources.planner.acp.scratch import FilesScratch
from resources.planner.acp.session_replay import replay
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.steps.agent_prompts import REPAIR
from tests.builders import an_intent
from tests.integration.planner import npm_agents
from tests.integration.planner.conftest import model_settings
from tests.integration.planner.npm_agents import CLAUDE, CODEX, GEMINI, NpmAgent
from tests.support.acp.model_answers import Turn
from tests.support.acp.scripted_agent import GOOD_PLAN
from tests.support.acp.scripted_model import KEY, ScriptedModel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SESSIONS = Path(__file__).parents[2] / "fixtures" / "acp_sessions"
PROMPTS = ["Greet by name", REPAIR]
OLD = 'def greet():\n    return "hello"\n'
NEW = 'def greet(name="you"):\n    return f"hello {name}"\n'
CHECK = "python3 -c 'import greet; print(greet.greet())'"
PATCH = """\
*** Begin Patch
*** Update File: greet.py
@@
-def greet():
-    return "hello"
+def greet(name="you"):
+    return f"hello {name}"
*** End Patch
"""
CONNECT = "python3 -c 'import socket; socket.create_connection((\"1.1.1.1\", 53), 1)'"
LOOK = f"env; cat /etc/shadow; ls /root; {CONNECT}"


@dataclass(frozen=True)
class Case:
    """An agent, the API of its model, and how its model calls the tools."""

    agent: NpmAgent
    dialect: Dialect
    agent_name: str
    read: Turn
    edit: Turn
    shell: tuple[str, str]
    """The name of the tool that runs a command, and of its argument."""
    plan: str
    """The name of the tool that takes the plan."""
    trap: tuple[str, str]
    """A file of the repository that the agent would execute when a session starts, and its content."""

    def run(self, command: str) -> Turn:
        """The turn that runs a command."""
        return self.shell[0], {self.shell[1]: command}


CASES = [
    Case(
        CODEX,
        "openai",
        "@agentclientprotocol/codex-acp",
        ("exec_command", {"cmd": "cat greet.py"}),
        ("exec_command", {"cmd": f"apply_patch <<'END'\n{PATCH}END"}),
        ("exec_command", "cmd"),
        "mcp__sisu/submit_plan",
        (".codex/config.toml", '[mcp_servers.x]\ncommand = "touch"\nargs = ["/work/ran.txt"]\n'),
    ),
    Case(
        CLAUDE,
        "anthropic",
        "@agentclientprotocol/claude-agent-acp",
        ("Read", {"file_path": "/work/greet.py"}),
        ("Edit", {"file_path": "/work/greet.py", "old_string": OLD, "new_string": NEW}),
        ("Bash", "command"),
        "mcp__sisu__submit_plan",
        (
            ".claude/settings.json",
            '{"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": "touch /work/ran.txt"}]}]}}',
        ),
    ),
    Case(
        GEMINI,
        "gemini",
        "gemini-cli",
        ("read_file", {"file_path": "greet.py"}),
        ("replace", {"file_path": "greet.py", "instruction": "name", "old_string": OLD, "new_string": NEW}),
        ("run_shell_command", "command"),
        "mcp_sisu_submit_plan",
        (".gemini/settings.json", '{"mcpServers": {"x": {"command": "touch", "args": ["/work/ran.txt"]}}}'),
    ),
]
every_agent = pytest.mark.parametrize("case", CASES, ids=lambda case: case.agent.program)


def ask(
    case: Case, folder: Path, model: ScriptedModel, turns: list[Turn], others: Mapping[str, str] | None = None
) -> AgentAnswer | QuestionFailed:
    """Ask the agent, whose model plays these turns."""
    program = npm_agents.installed(case.agent)
    model.scripts["m"] = turns
    model.requests.clear()
    settings = AgentSettings(
        argv=program.argv,
        home=folder / "agents",
        model=model_settings(model, dialect=case.dialect),
        paths=program.paths,
        start_s=120,
        idle_s=60,
    )
    planner = AgentPlanner(settings)

    async def asked() -> AgentAnswer | QuestionFailed:
        files = {path: FileState(text.encode()) for path, text in {"greet.py": OLD, **(others or {})}.items()}
        try:
            return await planner.ask(AgentQuestion("key", PROMPTS, FilesScratch(files)))
        except QuestionFailed as failed:
            return failed

    try:
        return asyncio.run(asked())
    finally:
        planner.close()


@every_agent
def test_it_edits_checks_corrects_its_plan_and_its_session_is_played_without_it(
    case: Case, folder: Path, model: ScriptedModel
) -> None:
    wrong: Turn = (case.plan, {**GOOD_PLAN, "design": "not a list"})
    turns = [case.read, case.edit, case.run(CHECK), wrong, (case.plan, GOOD_PLAN), "Done."]
    answer = ask(case, folder, model, turns, dict([case.trap]))
    assert isinstance(answer, AgentAnswer), answer
    assert answer.plan.to_json() == GOOD_PLAN
    assert [(patch["targetPath"], patch["postimageContent"]) for patch in answer.changes.patches] == [
        ("greet.py", NEW)
    ]
    evidence = answer.evidence
    assert (evidence.agent_name, evidence.agent_version) == (case.agent_name, case.agent.version)
    assert evidence.model_calls == len(model.requests) >= 6 and evidence.uncounted_calls == 0
    assert (evidence.input_tokens, evidence.output_tokens) == (
        1000 * evidence.model_calls,
        50 * evidence.model_calls,
    )
    assert KEY not in json.dumps(evidence.transcript)
    assert [call["accepted"] for call in evidence.transcript["planCalls"]] in ([False, True], [True])
    intent = an_intent("Greet by name", inputs={"files": {"greet.py": OLD}})
    changes = answer.changes
    recorded = Recording(intent, PROMPTS, GOOD_PLAN, changes.patches, evidence.transcript, changes.before)
    target = SESSIONS if os.environ.get("REFRESH_GOLDEN") == "1" else folder
    session = target / f"{case.agent.name}.session.json"
    recording.write(session, recorded)
    replayed = replay(session)
    assert replayed.differences == [] and replayed.changes_sha256 == changes.sha256


@every_agent
def test_what_it_runs_sees_no_key_no_host_and_no_network(case: Case, folder: Path, model: ScriptedModel) -> None:
    answer = ask(case, folder, model, [case.run(LOOK), (case.plan, GOOD_PLAN), "Done."])
    assert isinstance(answer, AgentAnswer), answer
    seen = json.dumps([{**request, "authorization": None} for request in model.requests])
    assert KEY not in seen and "DATABASE_URL" not in seen
    assert "Network is unreachable" in seen and "/etc/shadow: No such file" in seen
    assert "cannot access '/root'" in seen


@every_agent
def test_no_tool_of_it_searches_the_web(case: Case, folder: Path, model: ScriptedModel) -> None:
    answer = ask(case, folder, model, [(case.plan, GOOD_PLAN), "Done."])
    assert isinstance(answer, AgentAnswer), answer
    tools = json.dumps([request["tools"] for request in model.requests if request.get("tools")]).lower()
    assert case.plan.rpartition("/")[2] in tools
    for name in ("web_search", "websearch", "webfetch", "web_fetch"):
        assert f'"{name}"' not in tools


@every_agent
def test_it_is_prompted_again_when_it_forgets_the_plan(case: Case, folder: Path, model: ScriptedModel) -> None:
    answer = ask(case, folder, model, ["I would greet by name.", (case.plan, GOOD_PLAN), "Done."])
    assert isinstance(answer, AgentAnswer), answer
    assert answer.evidence.stop_reasons == ("end_turn", "end_turn")


@every_agent
def test_a_rejected_key_fails_at_once(case: Case, folder: Path, model: ScriptedModel) -> None:
    model.status = 401
    try:
        failed = ask(case, folder, model, ["Done."])
    finally:
        model.status = 200
    assert isinstance(failed, QuestionFailed)
    assert failed.failure.code == "model_error" and "answered 401" in str(failed)
