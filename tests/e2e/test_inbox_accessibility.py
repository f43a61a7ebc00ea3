"""What axe finds on each page and in each state of the inbox: on both widths, in both color schemes."""

import pytest

from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import runs
from tests.builders import a_run, an_intent
from tests.e2e.browser import DESKTOP, PHONE, Browser, is_offline
from tests.e2e.test_inbox import be, live, page
from tests.integration.api.conftest import Api, api
from tests.integration.api.test_tasks import a_failed_run
from tests.integration.gate.conftest import a_token
from tests.integration.gate.test_ask import ASK
from tests.integration.gate.world import Waiting

__all__ = ["api", "live", "page"]


@pytest.mark.parametrize(
    "view",
    [
        *("inbox", "empty", "batch", "plan", "editor", "assignment", "question", "finished", "failed"),
        *("history", "new-intent", "out-of-office", "sign-in", "offline"),
    ],
)
def test_axe_finds_nothing_and_nothing_scrolls_sideways(page: Browser, api: Api, view: str) -> None:
    _show(page, api, view)
    check(page)
    if view == "batch":
        page.one("#approve-all").click()
        page.one("#results", "1 recorded, 0 refused")
        check(page)
    if view == "offline":
        is_offline(page, False)
        page.one("#connection", "Live")
        page.complaints()


def check(page: Browser) -> None:
    for size in (DESKTOP, PHONE):
        page.resize(size)
        for scheme in ("dark", "light"):
            page.scheme(scheme)
            assert page.faults() == [], (size, scheme)
        assert page.driver.execute_script("return document.documentElement.scrollWidth") <= size[0]


def _show(page: Browser, api: Api, view: str) -> None:
    if view in _WITHOUT_A_GATE:
        _WITHOUT_A_GATE[view](page, api)
        return
    run = Waiting(api.dependencies, constraints=ASK if view == "question" else {})
    if view in ("finished", "history"):
        api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "bob"})
        run.segment()
    if view == "history":
        page.open(f"{api.url}/#/history")
        page.one("tbody tr")
    elif view in ("inbox", "batch", "offline"):
        _list(page, api, view)
    else:
        page.open(f"{api.url}/#/runs/{run.run_id}")
        page.one("#progress span")
    if view == "editor":
        page.one("#edit").click()
        page.one("#editor fieldset")
    if view == "assignment":
        page.one("#assignment summary").click()
        page.one("#assign")


def _list(page: Browser, api: Api, view: str) -> None:
    with api.dependencies.database.connect() as connection:
        runs.move(connection, a_run(connection, an_intent("Running now")), RunStatus.RUNNING)
    page.open(api.url)
    page.one("#active li")
    page.one("#gates li")
    if view == "batch":
        page.one("#gates input").click()
        be(page, "Ann")
    if view == "offline":
        is_offline(page, True)
        page.one("#gates a").click()
        page.one("h1", "The request failed")


def _empty(page: Browser, api: Api) -> None:
    page.open(api.url)
    page.one("h1", "No gate waits")


def _sign_in(page: Browser, api: Api) -> None:
    a_token(api.dependencies.database, "ann")
    page.open(api.url)
    page.one("input[name=token]")


def _failed(page: Browser, api: Api) -> None:
    page.open(f"{api.url}/#/runs/{a_failed_run(api).run_id}")
    page.one("#failure")


def _new_intent(page: Browser, api: Api) -> None:
    page.open(f"{api.url}/#/new")
    page.one("#intent")
    for details in page.driver.find_elements("css selector", "#intent summary"):
        details.click()


def _out_of_office(page: Browser, api: Api) -> None:
    absence = {"recordedBy": "ann", "delegate": "bob", "endsAt": "2100-01-01T00:00:00Z", "reason": "parental leave"}
    api.post("/delegations", absence)
    page.open(f"{api.url}/#/away")
    page.one("#absences", "bob substitutes")


_WITHOUT_A_GATE = {
    "empty": _empty,
    "sign-in": _sign_in,
    "failed": _failed,
    "new-intent": _new_intent,
    "out-of-office": _out_of_office,
}
