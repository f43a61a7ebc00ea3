"""Text of submitters and commands is shown as text in Dagster's pages: no image, link or HTML of theirs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from resources.database import Database
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.defs import asset_metadata
from sisu_pipeline.steps.step_result import Artifact, StepResult, plan_gate
from sisu_pipeline.store import gates
from tests.builders import a_run
from tests.integration.api.conftest import dependencies_over

ATTACKS = [
    "![x](http://attacker/r)",
    "<img src=http://attacker/r>",
    "<script>alert(1)</script>",
    "[Approve here](http://attacker/)",
    "http://attacker/autolink <http://attacker/>",
    "[x]: http://attacker/ \n\n[x]",
    "```\n![x](http://attacker/r)\n```",
    "\n\n# ![x](http://attacker/r)\n",
    "\u202e![x](http://attacker/r)",
]


def step_result(step: StepId, text: str, run_id: str) -> StepResult:
    plan = {"goal": text, "design": [text], "files": [text], "risks": [text], "tests": [text]}
    outputs: dict[StepId, dict[str, Any]] = {
        StepId.COMPILE: plan,
        StepId.APPLY_PATCH: plan,
        StepId.DECIDE: {"structured": {"test_command": text, "tests": [text], "patch": []}},
        StepId.EXECUTE: {"errCode": "NONE", "exit": 0, "metrics": {"wallMs": 1}, "stdout": text},
    }
    artifact = Artifact(step, 0, "file", f"artifact://run/{run_id}/{text}", "", "0" * 64)
    return StepResult(step, outputs[step], (artifact,))


def inline(markdown: str) -> Iterator[Token]:
    """The tokens of a text that a reader of CommonMark with autolinks sees."""
    for token in MarkdownIt("commonmark", {"html": True}).parse(markdown):
        yield from [token, *(token.children or [])]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("step", list(StepId))
def test_no_text_of_others_is_markup(clean_database: Database, tmp_path: Path, step: StepId, attack: str) -> None:
    dependencies = dependencies_over(clean_database, tmp_path)
    with clean_database.connect() as connection:
        run = a_run(connection)
    metadata = asset_metadata.of_step(dependencies, run.workflow_id, step_result(step, attack, run.id))
    shown = {name: each.value for name, each in metadata.items() if isinstance(each, dg.MarkdownMetadataValue)}
    assert "artifacts" in shown
    for name, markdown in shown.items():
        tokens = list(inline(str(markdown)))
        links = [token.attrGet("href") for token in tokens if token.type == "link_open"]
        assert all(str(link).startswith(f"{dependencies.api_url}/artifacts/") for link in links)
        assert name == "artifacts" or not links
        kinds = {token.type for token in tokens}
        assert not kinds & {"image", "html_inline", "html_block", "heading_open", "definition"}, markdown


def test_a_link_of_a_submitter_names_no_scheme_that_runs(clean_database: Database, tmp_path: Path) -> None:
    with clean_database.connect() as connection:
        run = a_run(connection)
    result = step_result(StepId.COMPILE, "javascript:alert(1)", run.id)
    metadata = asset_metadata.of_step(dependencies_over(clean_database, tmp_path), run.workflow_id, result)
    urls = [each.value for each in metadata.values() if isinstance(each, dg.UrlMetadataValue)]
    assert urls
    assert all(str(url).startswith("http://") for url in urls)


def test_the_links_lead_to_the_address_that_people_use(clean_database: Database, tmp_path: Path) -> None:
    dependencies = replace(dependencies_over(clean_database, tmp_path), api_url="https://sisu.example.org")
    with clean_database.connect() as connection:
        run = a_run(connection)
        gates.open_gate(connection, run.id, plan_gate(run.id, "0" * 64))
    metadata = asset_metadata.of_step(dependencies, run.workflow_id, step_result(StepId.APPLY_PATCH, "x", run.id))
    assert metadata["run"].value == f"https://sisu.example.org/runs/{run.id}"
    assert metadata["decide"].value == f"https://sisu.example.org/#/runs/{run.id}"
    assert "(https://sisu.example.org/artifacts/" in metadata["artifacts"].value


def test_an_event_holds_the_beginning_of_a_goal_of_megabytes(clean_database: Database, tmp_path: Path) -> None:
    with clean_database.connect() as connection:
        run = a_run(connection)
    goal = step_result(StepId.COMPILE, "g" * 5_000_000, run.id)
    metadata = asset_metadata.of_step(dependencies_over(clean_database, tmp_path), run.workflow_id, goal)
    shown = {name: value for name, value in metadata.items() if name != "artifacts"}
    assert len(str(shown)) < 20_000
