"""The review of changes in the inbox: at any size, on a phone, with the keyboard."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.e2e.browser import PHONE, Browser
from tests.e2e.test_inbox import be, live, open_run, page
from tests.integration.api.conftest import Api, api
from tests.integration.gate.world import Waiting

__all__ = ["api", "live", "page"]

LONG_WORD = "W" * 3000
LINES = [f"line {number}\n" for number in range(1, 501)]
MOST_CPU_SECONDS = 1.0


def test_a_person_with_a_phone_approves_a_new_file_after_seeing_its_content(page: Browser, api: Api) -> None:
    page.resize(PHONE)
    patches = [{"targetPath": "new/b.txt", "postimageContent": f"what it contains\n{LONG_WORD}\n"}]
    run = Waiting(api.dependencies, goal=f"Add a file {LONG_WORD}", patches=patches)
    open_run(page, api, run)
    added = page.one("[aria-label='Changes of new/b.txt'] td.added", "what it contains")
    page.driver.execute_script("arguments[0].scrollIntoView()", added)
    left, right = page.driver.execute_script(
        "const box = arguments[0].getBoundingClientRect(); return [box.left, box.right]", added
    )
    assert 0 <= left < right <= PHONE[0]
    assert page.driver.execute_script("return document.documentElement.scrollWidth") == PHONE[0]
    be(page, "Ann")
    page.one("#approve").click()
    page.one("#announcement", "Approved")
    assert run.rows("plan_approvals")[0]["decided_by"] == "Ann"


@pytest.mark.slow
def test_twenty_files_of_ten_thousand_lines_are_shown_at_once(page: Browser, api: Api) -> None:
    text = "".join(f"line {number}\n" for number in range(10_000))
    patches = [{"targetPath": f"file{number}.txt", "postimageContent": text} for number in range(20)]
    run = Waiting(api.dependencies, patches=patches)
    page.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    open_run(page, api, run)
    page.one("td.added", "line 100")
    files = page.driver.find_elements(By.CSS_SELECTOR, "#review .files li")
    assert [file.text for file in files[::19]] == ["file0.txt +10000 −0", "file19.txt +10000 −0"]
    # The time of this thread alone: other processes of a busy machine do not count.
    assert metric(page, "TaskDuration") < MOST_CPU_SECONDS
    assert metric(page, "Nodes") < 20_000
    # The last line is reached without drawing those before it.
    page.one("#previous-change").click()
    page.one("#announcement", "file19.txt: change 1 of 1")
    page.one("[aria-label='Changes of file19.txt'] td.added", "line 0")


def metric(page: Browser, name: str) -> float:
    found = page.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return float(next(each["value"] for each in found if each["name"] == name))


@pytest.fixture
def sparse(api: Api) -> Waiting:
    """A run that changes two places of a long file and deletes another one."""
    after = "".join(LINES).replace("line 100\n", "line one hundred\n").replace("line 400\n", "")
    patches = [{"targetPath": "long.txt", "postimageContent": after}, {"targetPath": "gone.txt", "op": "delete"}]
    return Waiting(api.dependencies, files={"long.txt": "".join(LINES), "gone.txt": "gone\n"}, patches=patches)


@pytest.mark.slow
def test_unchanged_lines_are_folded_and_unfold_with_their_numbers(page: Browser, api: Api, sparse: Waiting) -> None:
    open_run(page, api, sparse)
    changes = "[aria-label='Changes of long.txt']"
    assert [button.text for button in page.driver.find_elements(By.CSS_SELECTOR, f"{changes} .gap button")] == [
        "Show 96 unchanged lines",
        "Show 293 unchanged lines",
        "Show 97 unchanged lines",
    ]
    page.one(f"{changes} .gap button", "96").click()
    assert cells(page, changes, 0) == ["1", "  line 1", "1", "  line 1"]
    page.one(f"{changes} .gap button", "293").click()
    page.one(f"{changes} .gap button", "Show 193 unchanged lines")
    page.one(f"{changes} .gap button", "97").click()
    assert cells(page, changes, -1) == ["500", "  line 500", "499", "  line 500"]


def cells(page: Browser, changes: str, index: int) -> list[str]:
    row = page.driver.find_elements(By.CSS_SELECTOR, f"{changes} tbody tr")[index]
    return [str(cell.get_property("textContent")) for cell in row.find_elements(By.CSS_SELECTOR, "td")]


@pytest.mark.slow
def test_keys_lead_from_change_to_change_past_files_that_are_viewed(
    page: Browser, api: Api, sparse: Waiting
) -> None:
    open_run(page, api, sparse)
    page.one("#next-change").send_keys(Keys.ENTER)
    page.one("#announcement", "long.txt: change 1 of 2")
    for key, place in (("n", "long.txt: change 2 of 2"), ("n", "gone.txt: change 1 of 1"), ("n", "last change")):
        page.driver.switch_to.active_element.send_keys(key)
        page.one("#announcement", place)
    page.driver.switch_to.active_element.send_keys("p")
    page.one("#announcement", "long.txt: change 2 of 2")
    page.one("input[aria-label='Viewed gone.txt']").send_keys(Keys.SPACE)
    page.one("#review .bar", "1 of 2 viewed")
    open_run(page, api, sparse)
    page.one("#review .bar", "1 of 2 viewed")
    page.one("#previous-change").send_keys(Keys.ENTER)
    page.one("#announcement", "long.txt: change 2 of 2")
