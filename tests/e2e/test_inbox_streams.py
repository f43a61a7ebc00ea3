"""The streams of the inbox: one for all tabs of a browser, opened again after every failure."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sisu_pipeline.api.http.error_responses import Refusal
from sisu_pipeline.api.routes import event_routes
from tests.e2e.browser import Browser, is_offline
from tests.e2e.test_inbox import be, live, open_run, page
from tests.integration.api.conftest import Api, api
from tests.integration.api.test_tasks import a_failed_run
from tests.integration.gate.world import Waiting

__all__ = ["api", "live", "page"]

RECORD_STATES = """
window.states = [];
const place = document.getElementById("connection");
new MutationObserver(() => states.push(place.textContent)).observe(place, { childList: true });
"""
TABS = 10
MOST_SECONDS = 2.0


@contextmanager
def tabs(page: Browser, addresses: list[str]) -> Iterator[list[str]]:
    """The handles of tabs with these addresses, which are closed in the end."""
    first = page.driver.current_window_handle
    page.driver.execute_script("for (const address of arguments[0]) window.open(address)", addresses)
    try:
        yield [handle for handle in page.driver.window_handles if handle != first]
    finally:
        for handle in page.driver.window_handles:
            if handle != first:
                page.driver.switch_to.window(handle)
                page.driver.close()
        page.driver.switch_to.window(first)


def test_ten_visible_tabs_share_a_stream_and_the_tenth_approves_at_once(page: Browser, api: Api) -> None:
    read, approved = Waiting(api.dependencies), Waiting(api.dependencies)
    addresses = [f"{api.url}/#/runs/{read.run_id}"] * (TABS - 2) + [api.url, f"{api.url}/#/runs/{approved.run_id}"]
    with tabs(page, addresses) as handles:
        assert len(handles) == TABS
        for handle in handles:
            page.driver.switch_to.window(handle)
            page.one("#connection", "Live")
            assert page.driver.execute_script("return document.hidden") is False
            if page.driver.current_url.endswith(approved.run_id):
                last = handle
        page.driver.switch_to.window(last)
        be(page, "Ann")
        started = time.monotonic()
        page.one("#approve").click()
        page.one("#announcement", "Approved")
        assert time.monotonic() - started < MOST_SECONDS
        assert approved.rows("plan_approvals")[0]["decided_by"] == "Ann"
        # The other tabs still receive the events of their own run.
        api.post(f"/runs/{read.run_id}/approve-plan", {"approvedBy": "bob"})
        page.driver.switch_to.window(next(handle for handle in handles if handle != last))
        page.one("main", "bob" if page.driver.current_url.endswith(read.run_id) else "No gate waits")
        assert page.complaints() == []
    page.until(lambda: api.state.feed.watcher_count == 0)


def test_a_stream_that_a_server_refuses_is_opened_again(
    page: Browser, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: Any) -> None:
        raise Refusal(503, "unavailable", "the database restarts")

    run = Waiting(api.dependencies)
    with monkeypatch.context() as broken:
        broken.setattr(event_routes, "merged", unavailable)
        open_run(page, api, run)
        page.one("#connection", "Reconnecting")
    page.one("#connection", "Live")
    api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "bob"})
    page.one("#progress", "approved by bob")


def test_a_request_without_an_answer_may_have_been_executed_and_is_safe_to_repeat(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    open_run(page, api, run)
    be(page, "Ann")
    is_offline(page, True)
    page.one("#approve").click()
    page.one("#gate [role=alert]", "may have been executed. Send it again")
    is_offline(page, False)
    page.one("#approve").click()
    page.one("#announcement", "Approved")
    assert len(run.rows("plan_approvals")) == 1
    page.complaints()


def test_the_stream_of_an_ended_run_ends_and_the_page_shows_no_fault(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    open_run(page, api, run)
    page.one("#connection", "Live")
    page.driver.execute_script(RECORD_STATES)
    api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "bob"})
    run.segment()
    page.one("#progress", "succeeded")
    # One watcher is left: it waits for a restart.
    page.until(lambda: api.state.feed.watcher_count == 1)
    page.until(lambda: page.driver.execute_script("return states") == [""])


@pytest.mark.slow
def test_the_page_of_an_ended_run_follows_it_again_when_it_is_retried(page: Browser, api: Api) -> None:
    run = a_failed_run(api)
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("#failure")
    assert page.one("#connection").text == ""
    be(page, "Ann")
    page.one("#retry").click()
    page.one("#progress", "repairing")
    page.one("#connection", "Live")


def test_the_page_of_an_ended_run_notices_that_it_is_retried_elsewhere(page: Browser, api: Api) -> None:
    run = a_failed_run(api)
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("#failure")
    page.one("#retry")
    api.post(f"/runs/{run.run_id}/retry", {"actor": "bob", "reason": "again"})
    page.one("#progress", "repairing")
    page.one("#connection", "Live")
    page.one("#cancel")
    api.post(f"/runs/{run.run_id}/cancel", {"actor": "bob", "reason": "enough"})
    page.one("#progress", "canceled by bob: enough")
    assert page.complaints() == []


def test_a_page_with_a_password_in_its_address_reads_and_decides(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    page.open(f"http://ann:secret@127.0.0.1:{api.port}/#/runs/{run.run_id}")
    be(page, "Ann")
    page.one("#connection", "Live")
    page.one("#approve").click()
    page.one("#announcement", "Approved")
    assert page.complaints() == []


@pytest.mark.slow
def test_a_page_without_a_server_is_readable_and_recovers_by_itself(page: Browser, api: Api) -> None:
    run = Waiting(api.dependencies)
    page.open(api.url)
    page.one("#gates a")
    is_offline(page, True)
    page.one("#gates a").click()
    page.one("h1", "The request failed")
    assert page.faults() == []
    is_offline(page, False)
    page.one("#gate")
    page.one("#connection", "Live")
    assert run.rows("plan_approvals") == []
    page.complaints()
