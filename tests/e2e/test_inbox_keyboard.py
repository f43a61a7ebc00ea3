"""Every verb of the inbox by keyboard alone: keys go to whatever has the focus, which is always visible."""

from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from sisu_pipeline.contracts.access import Role
from tests.e2e.browser import Browser
from tests.e2e.test_inbox import live, page
from tests.integration.api.conftest import Api, api
from tests.integration.api.test_tasks import a_failed_run
from tests.integration.gate.conftest import a_token
from tests.integration.gate.test_ask import ASK
from tests.integration.gate.test_reopening import pass_the_deadline
from tests.integration.gate.world import Waiting

__all__ = ["api", "live", "page"]

_OUTLINE = "const style = getComputedStyle(arguments[0]); return style.outlineStyle + ' ' + style.outlineWidth"


def reach(page: Browser, css: str) -> WebElement:
    """Press Tab until the focus is on an element with this selector, and see it there."""
    reached = page.press_until(css)
    assert page.driver.execute_script(_OUTLINE, reached) == "solid 3px"
    return reached


def write(page: Browser, css: str, text: str) -> WebElement:
    """Replace what a field holds."""
    field = reach(page, css)
    field.send_keys(Keys.CONTROL + "a" + Keys.NULL + text)
    return field


def focused(page: Browser) -> WebElement:
    return page.driver.switch_to.active_element


def holds_focus(page: Browser, css: str) -> bool:
    return bool(page.driver.execute_script("return document.activeElement.matches(arguments[0])", css))


def test_a_gate_is_found_read_and_approved(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies, goal="Tidy the basket")
    Waiting(api.dependencies)
    page.open(api.url)
    page.one("#gates li + li")
    write(page, "#filters input[type=search]", "basket")
    page.until(lambda: len(page.driver.find_elements("css selector", "#gates li")) == 1)
    reach(page, "#filters select").send_keys("no one")
    page.until(lambda: "asked=unassigned" in page.driver.current_url)
    reach(page, "#gates a").send_keys(Keys.ENTER)
    page.one("#approve")
    assert holds_focus(page, "main")
    reach(page, "#next-change").send_keys(Keys.ENTER)
    page.one("#announcement", "a.txt: change 1 of 1")
    focused(page).send_keys("n")
    page.one("#announcement", "new/b.txt: change 1 of 1")
    focused(page).send_keys("p")
    page.one("#announcement", "a.txt: change 1 of 1")
    reach(page, "label.viewed input").send_keys(Keys.SPACE)
    page.one("#review .bar", "1 of 2 viewed")
    write(page, "input[name=by]", "Kim")
    reach(page, "#approve").send_keys(Keys.SPACE)
    page.one("#announcement", "Approved")
    assert run.rows("plan_approvals")[0]["decided_by"] == "Kim"
    page.until(lambda: holds_focus(page, "main"))


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["reject", "edit", "answer"])
def test_a_gate_is_rejected_edited_or_answered(page: Browser, api: Api, verb: str) -> None:
    run = Waiting(api.dependencies, constraints=ASK if verb == "answer" else {})
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("#gate")
    if verb == "answer":
        reach(page, "#answer select").send_keys("production")
    write(page, "input[name=by]", "Kim")
    if verb == "answer":
        reach(page, "#answer button.main").send_keys(Keys.SPACE)
        page.one("#announcement", "Answered")
    elif verb == "reject":
        # Without the reason that it needs, the focus goes to its field.
        reach(page, "#reject").send_keys(Keys.SPACE)
        assert holds_focus(page, "textarea[name=notes]")
        focused(page).send_keys("too risky")
        reach(page, "#reject").send_keys(Keys.SPACE)
        page.one("#announcement", "Rejected")
        assert run.rows("plan_approvals")[0]["notes"] == "too risky"
    else:
        reach(page, "#edit").send_keys(Keys.SPACE)
        assert holds_focus(page, "#editor textarea")
        write(page, "#editor fieldset textarea", "typed")
        reach(page, "#approve").send_keys(Keys.SPACE)
        page.one("#announcement", "Approved")
        assert run.rows("plan_versions")[0]["edited_by"] == "Kim"
    page.until(lambda: holds_focus(page, "main"))


@pytest.mark.slow
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_gates_are_decided_together_and_the_results_get_the_focus(page: Browser, api: Api, decision: str) -> None:
    decided = [Waiting(api.dependencies) for _ in range(2)]
    left = Waiting(api.dependencies)
    page.open(api.url)
    page.one("h1", "3 waiting")
    for run in decided:
        reach(page, f"#gates input[data-run={run.run_id}]").send_keys(Keys.SPACE)
    page.one("#batch h3", "2 selected")
    write(page, "#batch input[name=by]", "Kim")
    write(page, "#batch textarea", "as discussed")
    reach(page, f"#{decision}-all").send_keys(Keys.ENTER)
    page.one("#results", "2 recorded, 0 refused")
    assert holds_focus(page, "#results")
    outcome = {"approve": "approved", "reject": "rejected"}[decision]
    assert [run.rows("plan_approvals")[0]["decision"] for run in decided] == [outcome] * 2
    assert left.rows("plan_approvals") == []


def test_the_focus_goes_to_the_next_gate_when_another_person_decides_about_the_one_that_has_it(
    page: Browser, api: Api
) -> None:
    first, second = (
        Waiting(api.dependencies, constraints={"planApprovalTimeoutS": seconds}) for seconds in (1000, 2000)
    )
    page.open(api.url)
    page.one("#gates li + li")
    reach(page, f"#gates a[href$='{first.run_id}']")
    api.post(f"/runs/{first.run_id}/approve-plan", {"approvedBy": "bob"})
    page.one("h1", "1 waiting")
    page.until(lambda: holds_focus(page, f"#gates a[href$='{second.run_id}']"))
    api.post(f"/runs/{second.run_id}/approve-plan", {"approvedBy": "bob"})
    page.until(lambda: holds_focus(page, "#gates-title"))


@pytest.mark.slow
def test_an_intent_is_submitted_and_canceled(page: Browser, api: Api) -> None:
    page.open(api.url)
    reach(page, "nav a[href='#/new']").send_keys(Keys.ENTER)
    page.one("#intent")
    write(page, "[data-pointer='/goal']", "Tidy the basket")
    write(page, "#drop input[name=path]", "shop/cart.py")
    write(page, "#drop textarea[name=content]", "total = 1")
    reach(page, "#add-pasted").send_keys(Keys.SPACE)
    page.one("#files", "shop/cart.py (9 characters)")
    reach(page, "#show-copies").send_keys(Keys.SPACE)
    page.one("#copies", "sisu intent submit -")
    reach(page, "#submit").send_keys(Keys.ENTER)
    page.one("#cancel")
    (run,) = api.get("/runs").json()["runs"]
    write(page, "#operations input[name=by]", "Kim")
    write(page, "input[name=operation-reason]", "not needed")
    reach(page, "#cancel").send_keys(Keys.SPACE)
    page.one("#progress", "canceled by Kim: not needed")
    assert api.get(f"/runs/{run['runId']}").json()["status"] == "canceled"
    page.until(lambda: holds_focus(page, "main"))


@pytest.mark.slow
@pytest.mark.parametrize("state", ["failed", "timed out"])
def test_a_run_is_retried_and_a_gate_is_opened_again(page: Browser, api: Api, state: str) -> None:
    run = a_failed_run(api) if state == "failed" else Waiting(api.dependencies)
    if state == "timed out":
        pass_the_deadline(api, run)
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("#operations h2", "Retry the run" if state == "failed" else "Open the gate again")
    write(page, "#operations input[name=by]", "Kim")
    write(page, "input[name=operation-reason]", "a long weekend" + Keys.ENTER)
    page.one("#progress", "repairing")
    page.until(lambda: holds_focus(page, "main"))


@pytest.mark.slow
def test_the_history_is_filtered_and_downloaded(page: Browser, api: Api, tmp_path: Path) -> None:
    for person in ("bob", "cem"):
        api.post(f"/runs/{Waiting(api.dependencies).run_id}/approve-plan", {"approvedBy": person})
    page.downloads(tmp_path)
    page.open(api.url)
    reach(page, "nav a[href='#/history']").send_keys(Keys.ENTER)
    page.one("tbody", "cem")
    reach(page, "#filters input[name=person]").send_keys("bob" + Keys.ENTER)
    page.until(lambda: "cem" not in page.one("tbody").text)
    reach(page, "a[href*='format=csv']").send_keys(Keys.ENTER)
    page.until(lambda: any(tmp_path.glob("*.csv")))
    (file,) = tmp_path.glob("*.csv")
    assert "bob" in file.read_text()
    assert "cem" not in file.read_text()


def test_a_person_signs_in_and_out(page: Browser, api: Api) -> None:
    Waiting(api.dependencies)
    token = a_token(api.dependencies.database, "ann", Role.APPROVER)
    page.open(api.url)
    page.until(lambda: holds_focus(page, "input[name=token]"))
    focused(page).send_keys("sisu_wrong" + Keys.ENTER)
    page.one("[role=alert]", "unknown or revoked")
    assert holds_focus(page, "input[name=token]")
    focused(page).send_keys(Keys.CONTROL + "a" + Keys.NULL + token + Keys.ENTER)
    page.one("#gates a")
    assert holds_focus(page, "main")
    # The link to the content does not leave the page that is shown.
    reach(page, "#gates a").send_keys(Keys.ENTER)
    page.one("#approve")
    page.driver.refresh()
    page.one("#approve")
    reach(page, ".skip").send_keys(Keys.ENTER)
    assert holds_focus(page, "main")
    page.one("#approve")
    page.driver.refresh()
    page.one("#approve")
    reach(page, "#who button").send_keys(Keys.ENTER)
    page.until(lambda: holds_focus(page, "input[name=token]"))


def test_a_gate_is_assigned_and_an_absence_recorded_and_ended(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("#assignment", "Asks no one in particular")
    reach(page, "#assignment summary").send_keys(Keys.ENTER)
    reach(page, "textarea[name=assignees]").send_keys("ann\n@leads")
    reach(page, "input[name=assignment-reason]").send_keys("she wrote it")
    write(page, "#assignment input[name=by]", "Kim")
    reach(page, "#assign").send_keys(Keys.ENTER)
    page.one("#announcement", "Assigned to ann, @leads")
    page.one("#assignment", "Asks ann, group leads, assigned by Kim")
    assert asked(api) == (["ann"], ["leads"], [])
    reach(page, "nav a[href='#/away']").send_keys(Keys.ENTER)
    page.one("#absences", "No one is away")
    write(page, "#absence input[name=by]", "ann")
    reach(page, "input[name=delegate]").send_keys("ann")
    reach(page, "input[name=until]").send_keys("01012100" + Keys.ARROW_RIGHT + "0900AM")
    reach(page, "#record-absence").send_keys(Keys.ENTER)
    page.one("#absence [role=alert]", "cannot be their own substitute")
    assert holds_focus(page, "#record-absence")
    page.complaints()  # the browser's own line about the refusal
    write_back(page, "input[name=delegate]", "bob" + Keys.ENTER)
    page.one("#absences", "bob substitutes")
    assert holds_focus(page, "h1")
    assert asked(api) == (["ann"], ["leads"], ["bob"])
    reach(page, "#absences button").send_keys(Keys.ENTER)
    page.one("#absences", "No one is away")
    assert holds_focus(page, "h1")
    assert asked(api) == (["ann"], ["leads"], [])
    assert page.complaints() == []


def write_back(page: Browser, css: str, text: str) -> None:
    """Replace what a field before the one with the focus holds."""
    while not holds_focus(page, css):
        focused(page).send_keys(Keys.SHIFT + Keys.TAB + Keys.NULL)
    focused(page).send_keys(Keys.CONTROL + "a" + Keys.NULL + text)


def asked(api: Api) -> tuple[Any, Any, Any]:
    (gate,) = api.get("/gates").json()["gates"]
    return gate["asked"]["people"], gate["asked"]["groups"], gate["asked"]["delegates"]
