"""The browser notifies a person who allowed it of gates that open while the inbox is not in view."""

from collections.abc import Iterator

import pytest

from tests.e2e.browser import Browser
from tests.e2e.test_inbox import live, page
from tests.integration.api.conftest import Api, api
from tests.integration.gate.world import Waiting

__all__ = ["api", "live", "page"]

pytestmark = pytest.mark.slow

# Stands for the desktop: a headless browser has none.
_DESKTOP = """
window.shown = [];
window.Notification = class {
  static permission = "default";
  static async requestPermission() { this.permission = "granted"; return "granted"; }
  constructor(title, options) { window.shown.push([title, options.body, this]); this.listeners = {}; }
  addEventListener(name, listener) { this.listeners[name] = listener; }
  close() { this.closed = true; }
};
document.hasFocus = () => window.looks ?? true;
"""


@pytest.fixture
def desktop(page: Browser) -> Iterator[Browser]:
    """A browser whose notifications are recorded."""
    added = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _DESKTOP})
    yield page
    page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def shown(desktop: Browser) -> list[list[str]]:
    found: list[list[str]] = desktop.driver.execute_script("return shown.map(([title, body]) => [title, body])")
    return found


def test_a_gate_that_opens_while_the_person_looks_elsewhere_is_shown_once_and_leads_to_its_run(
    desktop: Browser, api: Api
) -> None:
    Waiting(api.dependencies, goal="open before")
    desktop.open(api.url)
    desktop.one("h1", "1 waiting")
    assert desktop.faults() == []
    desktop.one("#alerts button", "Notify me of new gates").click()
    desktop.until(lambda: not desktop.driver.find_elements("css selector", "#alerts button"))
    Waiting(api.dependencies, goal="opened in view")
    desktop.one("h1", "2 waiting")
    desktop.driver.execute_script("window.looks = false")
    run = Waiting(api.dependencies, goal="opened elsewhere\u202e")
    desktop.one("h1", "3 waiting")
    api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "ann"})
    desktop.one("h1", "2 waiting")
    assert shown(desktop) == [["Approval needed", "opened elsewhere\\u202e"]]
    desktop.driver.execute_script("shown[0][2].listeners.click()")
    desktop.until(lambda: desktop.driver.current_url.endswith(f"#/runs/{run.run_id}"))
    assert desktop.complaints() == []


def test_a_person_who_did_not_allow_it_is_not_notified(desktop: Browser, api: Api) -> None:
    desktop.open(api.url)
    desktop.one("h1", "No gate waits")
    desktop.driver.execute_script("window.looks = false")
    Waiting(api.dependencies)
    desktop.one("h1", "1 waiting")
    assert shown(desktop) == []
