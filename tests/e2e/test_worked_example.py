"""The commands of docs/intent.md take its worked example from submission to success."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from resources.database import Database
from tests.docs_generators.markdown import DOCS
from tests.docs_generators.markdown_page import MarkdownPage
from tests.e2e.conftest import Sisu, until

GOAL = "Round discounts in the customer's favor"


@pytest.fixture
def intent_file(tmp_path: Path) -> Path:
    """The worked example, as a file."""
    examples = (
        json.loads(each.text) for each in MarkdownPage(DOCS / "intent.md").blocks if each.language == "json"
    )
    path = tmp_path / "intent.json"
    path.write_text(json.dumps(next(example for example in examples if example.get("goal") == GOAL)))
    return path


def commands() -> list[list[str]]:
    """The page's commands, without `sisu`."""
    (block,) = (each for each in MarkdownPage(DOCS / "intent.md").blocks if each.language == "bash")
    return [shlex.split(line, comments=True)[1:] for line in block.text.splitlines()]


@pytest.mark.slow
def test_the_worked_example_succeeds(sisu: Sisu, intent_file: Path, stack_database: Database) -> None:
    submit, start, answer, show, approve, watch = commands()
    names = {"intent.json": str(intent_file)}

    def run(command: list[str]) -> dict[str, Any]:
        done = sisu(*(names.get(word, word) for word in command), "--json")
        assert done.status == 0, done.stdout + done.stderr
        document: dict[str, Any] = done.document
        return document

    def plan_gate() -> dict[str, Any] | None:
        gate: dict[str, Any] | None = run(["run", "show", "RUN"])["gate"]
        return gate

    names["INTENT_ID"] = run(submit)["intentId"]
    names["RUN"] = run(start)["runId"]
    assert sisu("run", "watch", names["RUN"], "--until-gate").status == 3
    run(answer)
    until(lambda: plan_gate() is not None, "the plan gate is open")
    names["PLAN_SHA256"] = (plan_gate() or {})["planSha256"]
    assert names["PLAN_SHA256"] in json.dumps(run(show))
    run(approve)
    assert run(watch)["status"] == "succeeded"
    statement = "SELECT request ->> 'cmd' AS command FROM app.sbx_runs WHERE run_id = %s ORDER BY 1"
    with stack_database.connect() as connection:
        rows = connection.execute(statement, [names["RUN"]]).fetchall()
    expected = [f"python3 -m unittest tests/test_{name}.py" for name in ("even", "odd")]
    assert [row["command"] for row in rows] == expected
