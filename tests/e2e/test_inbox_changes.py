"""Requests for changes in the inbox: the comment, the round while it is planned, and the new plan."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from selenium.webdriver.common.keys import Keys

from resources.database import Database
from sisu_pipeline.domain.status import RunStatus
from tests.builders import apply_recipe
from tests.e2e.browser import DESKTOP, PHONE, Browser
from tests.e2e.test_inbox import be, open_run, page
from tests.e2e.test_inbox_keyboard import focused, holds_focus, reach, write
from tests.integration.api.conftest import Api, Live, api, dependencies_over, serving
from tests.integration.gate.rounds import FAILURE, an_answer, question, request, settle
from tests.integration.gate.world import Waiting

__all__ = ["api", "page"]


@pytest.fixture(scope="module")
def live(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An API of a deployment whose plans a coding agent makes."""
    folder = tmp_path_factory.mktemp("inbox")
    with serving(replace(dependencies_over(database, folder), asks_agent=True)) as running:
        yield running


def waiting(api: Api) -> Waiting:
    """A run at its gate. Its first plan is the built-in planner's."""
    return Waiting(replace(api.dependencies, asks_agent=False))


def test_a_person_requests_changes_and_approves_the_new_plan(page: Browser, api: Api) -> None:
    run = waiting(api)
    open_run(page, api, run)
    be(page, "Ann")
    page.one("#request-changes").click()
    page.one("#send-changes").click()
    assert run.rows("change_requests") == [], "a request needs a comment"
    page.type("textarea[name=comment]", "Keep <b>both</b> lines")
    page.one("#send-changes").click()
    page.one("#announcement", "Changes requested")
    page.one("#revising", "the changes that Ann requested")
    (stored,) = run.rows("change_requests")
    assert (stored["comment"], stored["requested_by"], stored["channel"]) == (
        "Keep <b>both</b> lines",
        "Ann",
        "inbox",
    )
    assert page.driver.find_elements("css selector", "#gate") == []
    assert "Keep <b>both</b> lines" in question(api.dependencies, run).prompt
    # The new plan reaches the open page by itself.
    settle(api.dependencies, run, an_answer())
    page.one("#approve")
    page.one("#changes", "version 2")
    page.one("#plan", "OpenCode 1 (m) at the request of Ann")
    assert page.driver.find_elements("css selector", "#revising") == []
    be(page, "Bob")
    page.one("#approve").click()
    page.one("#announcement", "Approved")
    assert run.segment().status is RunStatus.SUCCEEDED


def test_comments_on_lines_become_the_request_for_changes(page: Browser, api: Api) -> None:
    run = waiting(api)
    open_run(page, api, run)
    be(page, "Ann")
    page.one("[aria-label='Changes of new/b.txt'] button.line").send_keys(Keys.ENTER)
    page.one("textarea.comment").send_keys("Say what is new")
    page.one("tr.comment button", "Add").click()
    line = page.one("[aria-label='Changes of a.txt'] button.line")
    line.send_keys(Keys.ENTER)
    page.one("[aria-label='Changes of a.txt'] textarea.comment").send_keys("Keep <b>it</b>")
    page.one("[aria-label='Changes of a.txt'] tr.comment button", "Add").click()
    open_run(page, api, run)  # a tab keeps them
    be(page, "Ann")
    page.one("tr.comment p", "Keep <b>it</b>")
    assert page.faults() == []
    page.one("#request-changes", "Request changes (2 comments)").click()
    page.one("textarea[name=comment]").send_keys("\n\nAnd the rest is fine.")
    page.one("#send-changes").click()
    page.one("#announcement", "Changes requested")
    (stored,) = run.rows("change_requests")
    assert stored["comment"] == (
        "a.txt, removed line 1:\n> before\nKeep <b>it</b>\n\n"
        "new/b.txt, line 1:\n> new\nSay what is new\n\nAnd the rest is fine."
    )
    settle(api.dependencies, run, an_answer())
    page.one("#approve")
    assert page.driver.find_elements("css selector", "tr.comment") == []


@pytest.mark.slow
def test_changes_are_requested_with_keys_alone(page: Browser, api: Api) -> None:
    run = waiting(api)
    open_run(page, api, run)
    changes = "[aria-label='Changes of a.txt']"
    reach(page, f"{changes} button.line").send_keys(Keys.ARROW_DOWN)
    focused(page).send_keys(Keys.ENTER)
    assert holds_focus(page, "textarea.comment")
    focused(page).send_keys("Keep it")
    reach(page, "tr.comment button").send_keys(Keys.SPACE)
    assert holds_focus(page, f"{changes} button.line")
    # A comment on the other side of the row that is not written leaves nothing.
    focused(page).send_keys(Keys.ARROW_UP)
    focused(page).send_keys(Keys.ENTER)
    reach(page, "tr.comment button + button").send_keys(Keys.SPACE)
    assert holds_focus(page, f"{changes} button.line")
    write(page, "input[name=by]", "Kim")
    reach(page, "#request-changes").send_keys(Keys.SPACE)
    assert holds_focus(page, "textarea[name=comment]")
    focused(page).send_keys(Keys.CONTROL + Keys.END + Keys.NULL + "\n\nAnd the rest is fine.")
    reach(page, "#send-changes").send_keys(Keys.SPACE)
    page.one("#revising", "Kim")
    (stored,) = run.rows("change_requests")
    assert stored["comment"] == "a.txt, line 1:\n> after\nKeep it\n\nAnd the rest is fine."
    page.until(lambda: holds_focus(page, "main"))


def test_a_failed_round_shows_its_reason_and_the_gate_is_open(page: Browser, api: Api) -> None:
    run = waiting(api)
    request(api.client, run)
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("#revising")
    settle(api.dependencies, run, FAILURE)
    page.one("#changes", "failed: the agent ended")
    page.one("#approve")
    assert page.one("#changes", "1 of 3 requests used")


def test_a_run_whose_plan_is_changed_is_listed_as_active(page: Browser, api: Api) -> None:
    run = waiting(api)
    request(api.client, run)
    page.open(api.url)
    assert "a coding agent is planning" in page.one("#active li").text
    assert page.driver.find_elements("css selector", "#gates li") == []


def test_after_the_last_request_the_button_is_gone(page: Browser, api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        apply_recipe(connection, "compile-default", maxChangeRequests=1)
    run = waiting(api)
    request(api.client, run)
    settle(api.dependencies, run, an_answer())
    open_run(page, api, run)
    assert page.driver.find_elements("css selector", "#request-changes") == []
    page.one("#approve")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_in_a_round(page: Browser, api: Api, size: tuple[int, int]) -> None:
    page.resize(size)
    run = waiting(api)
    open_run(page, api, run)
    page.one("#request-changes").click()
    assert page.faults() == []
    request(api.client, run)
    page.one("#revising")
    assert page.faults() == []
