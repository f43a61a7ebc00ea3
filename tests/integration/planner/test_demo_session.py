"""The session that `make demo` plays, recorded by the product with the real Codex and a scripted model."""

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from resources.git.repository_address import AllowedRepositories
from resources.planner.acp import recording
from resources.planner.acp.agent_planner import AgentPlanner
from resources.planner.acp.agent_settings import AgentSettings
from resources.planner.acp.playback_planner import PlaybackPlanner
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.proof.labs import demo_repository
from sisu_pipeline.proof.labs.demo_project import FOLDER
from sisu_pipeline.queueing.agent_provider import QuestionPlanner
from sisu_pipeline.queueing.question_service import QuestionService
from sisu_pipeline.settings import child_environment
from sisu_pipeline.workflow import ownership, step_execution
from sisu_pipeline.workflow.dependencies import FIXTURES, Dependencies
from sisu_pipeline.workflow.planning import agent_plans
from tests.builders import a_run
from tests.integration.git.repositories import mirrors_in
from tests.integration.planner import npm_agents
from tests.integration.planner.conftest import model_settings
from tests.support.acp.model_answers import Turn
from tests.support.acp.scripted_model import ScriptedModel

TESTS = sorted(path.relative_to(FOLDER / "project").as_posix() for path in FOLDER.glob("project/tests/test_*.py"))
NEW_TEST = "tests/test_receipt_tax_reduced.py"
PLAN = {
    "design": [
        "A price that contains the tax is 100 + rate percent of the net price, so tax_in() divides by 100 + rate",
        "A second test covers the reduced rate of 7 percent",
    ],
    "files": ["kiosk/receipt.py", "tests/test_receipt_tax.py", NEW_TEST],
    "risks": ["Receipts show a lower tax than before"],
    "tests": sorted([*TESTS, NEW_TEST]),
    "testCommand": "python3 -m unittest",
}
PATCH = f"""\
*** Begin Patch
*** Update File: kiosk/receipt.py
@@
-    return cents * rate // 100
+    return cents * rate // (100 + rate)
*** Update File: tests/test_receipt_tax.py
@@
-    \"\"\"Fails, and is meant to: the demo shows how a failing test is reported.\"\"\"
+    \"\"\"The tax at the standard rate.\"\"\"
*** Add File: {NEW_TEST}
+import unittest
+
+from kiosk.receipt import tax_in
+
+
+class ReducedTax(unittest.TestCase):
+    \"\"\"The tax at the reduced rate.\"\"\"
+
+    def test_tax_of_seven_percent(self) -> None:
+        self.assertEqual(tax_in(10700, 7), 700)
*** End Patch
"""
TURNS: list[Turn] = [
    ("exec_command", {"cmd": "python3 -m unittest tests/test_receipt_tax.py"}),
    ("exec_command", {"cmd": "cat kiosk/receipt.py tests/test_receipt_tax.py"}),
    ("exec_command", {"cmd": f"apply_patch <<'END'\n{PATCH}END"}),
    ("exec_command", {"cmd": "python3 -m unittest"}),
    ("mcp__sisu/submit_plan", PLAN),
    "tax_in() now computes the tax that a price contains. All tests pass.",
]


@pytest.fixture
def on_commit(dependencies: Dependencies, tmp_path: Path) -> Dependencies:
    """Dependencies of a deployment that allows the demo's repository."""
    allowed = AllowedRepositories((str(tmp_path),))
    return replace(dependencies, asks_agent=True, mirrors=mirrors_in(tmp_path), allowed_repositories=allowed)


def planned(
    dependencies: Dependencies,
    tmp_path: Path,
    planner: QuestionPlanner,
    settings: AgentSettings,
    records: Path | None,
) -> dict[str, str]:
    """Let a planner answer the demo's question; returns the operation of each change by its path."""
    demo_repository.make_repository(tmp_path / "kiosk")
    intent = Intent.from_json(demo_repository.intent_of(tmp_path / "kiosk", child_environment()))
    with dependencies.database.connect() as connection:
        run = a_run(connection, intent)
    ownership.enter(dependencies.database, run.workflow_id, "dagster-1")
    asked = agent_plans.ask(dependencies, run.workflow_id)
    assert asked is not None
    asyncio.run(QuestionService(dependencies, planner, settings, records).settle(asked[1].op_key))
    result = step_execution.compile_intent(dependencies, run.workflow_id)
    assert {name: value for name, value in result.output.items() if name != "patchPlan"} == {
        **PLAN,
        "goal": demo_repository.GOAL,
    }
    return {patch["targetPath"]: patch["op"] for patch in result.output["patchPlan"]}


CHANGES = {"kiosk/receipt.py": "modify", "tests/test_receipt_tax.py": "modify", NEW_TEST: "create"}


def test_the_recorded_session_answers_the_question_of_the_demo(
    on_commit: Dependencies, folder: Path, tmp_path: Path
) -> None:
    settings = AgentSettings(argv=("playback",), home=folder / "agents")
    assert planned(on_commit, tmp_path, PlaybackPlanner(settings, FIXTURES), settings, None) == CHANGES


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_codex_answers_the_question_of_the_demo(
    on_commit: Dependencies, folder: Path, tmp_path: Path, model: ScriptedModel
) -> None:
    model.scripts["m"] = TURNS
    program = npm_agents.installed(npm_agents.CODEX)
    settings = AgentSettings(
        argv=program.argv,
        home=folder / "agents",
        model=model_settings(model),
        paths=program.paths,
        start_s=120,
        idle_s=60,
    )
    records = FIXTURES if os.environ.get("REFRESH_GOLDEN") == "1" else folder / "oc"
    planner = AgentPlanner(settings)
    try:
        assert planned(on_commit, tmp_path, planner, settings, records) == CHANGES
    finally:
        planner.close()
    (session,) = records.glob("*.session.json")
    (committed,) = FIXTURES.glob(session.name)
    assert recording.read(session).changes == recording.read(committed).changes
    outputs = json.dumps(recording.read(session).transcript)
    # It saw the test fail before its change, and all tests pass afterwards.
    assert outputs.count("FAILED (failures=1)") == 1 and outputs.count("\\nOK\\n") == 1
