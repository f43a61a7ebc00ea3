"""A real browser, headless: Debian's Chromium, driven by Selenium, with axe-core from a package."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException, TimeoutException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
DESKTOP, PHONE = (1280, 900), (390, 844)
_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    "--lang=en",
)
_TIMEOUT_S = 20
_POLL_S = 0.05
_STALE = (NoSuchElementException, StaleElementReferenceException)


class Browser:
    """One browser window on one site."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Go to an address, as if for the first time."""
        self.driver.get("about:blank")
        self.driver.get(url)

    def one(self, css: str, containing: str = "") -> WebElement:
        """The element with this selector and text, once it is there."""

        def find(driver: Chrome) -> WebElement | None:
            found = driver.find_elements(By.CSS_SELECTOR, css)
            return next((each for each in found if containing in each.text), None)

        found: WebElement = self._wait(find, f"no {css} with {containing!r}")
        return found

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition."""
        self._wait(lambda _: condition(), "it did not come true")

    def _wait(self, find: Callable[[Chrome], Any], what: str) -> Any:
        try:
            return WebDriverWait(self.driver, _TIMEOUT_S, _POLL_S, ignored_exceptions=_STALE).until(find)
        except TimeoutException:
            raise AssertionError(f"{what} on: {self.text}\n{self.complaints()}") from None

    def type(self, css: str, text: str) -> None:
        """Write into a field, in place of what it holds."""
        field = self.one(css)
        field.clear()
        field.send_keys(text)

    def labelled(self, label: str) -> WebElement:
        """The field with this label."""
        name = self.one("label", label).get_attribute("for")
        return self.one(f"#{name}")

    @property
    def text(self) -> str:
        """What a person reads."""
        return str(self.driver.find_element(By.TAG_NAME, "body").text)

    def resize(self, size: tuple[int, int]) -> None:
        """Look through a screen of this many CSS pixels, narrower than a window can be, too."""
        width, height = size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def scheme(self, name: str) -> None:
        """Prefer `light` or `dark` colors."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def press_until(self, css: str) -> WebElement:
        """Press Tab until the focus is on an element with this selector; returns it."""
        for _ in range(200):
            focused = self.driver.switch_to.active_element
            if self.driver.execute_script("return arguments[0].matches(arguments[1])", focused, css):
                return focused
            # Not to the element: a field for files takes what is sent to it as a path.
            ActionChains(self.driver).send_keys(Keys.TAB).perform()
        raise AssertionError(f"the keyboard never came to {css}")

    def faults(self) -> list[str]:
        """What axe-core finds against WCAG 2.0 to 2.2 A and AA, and its own best practices."""
        spec = find_spec("axe_playwright_python")
        assert spec is not None
        assert spec.origin is not None
        if not self.driver.execute_script("return Boolean(window.axe)"):
            self.driver.execute_script((Path(spec.origin).parent / "axe.min.js").read_text())
        found: dict[str, Any] = self.driver.execute_async_script("axe.run(document).then(arguments[0])")
        return [
            f"{fault['id']}: {fault['help']}: {node['target']}"
            for fault in found["violations"]
            for node in fault["nodes"]
        ]

    def complaints(self) -> list[str]:
        """The console: script errors, and whatever the content security policy refused."""
        return [entry["message"] for entry in self._log("browser") if entry["level"] == "SEVERE"]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return entries

    def requested(self) -> set[str]:
        """Every address a page asked the network for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return {
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        }

    def downloads(self, folder: Path) -> None:
        """Write what a person downloads to a folder."""
        self.driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)}
        )

    def screenshot(self, path: Path) -> None:
        """A picture of the screen."""
        self.driver.save_screenshot(str(path))


def is_offline(page: Browser, value: bool) -> None:
    """Cut the browser off from the network, or connect it again."""
    page.driver.execute_cdp_cmd("Network.enable", {})
    page.driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": value, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1},
    )


@contextmanager
def browser(profile: Path, *flags: str) -> Iterator[Browser]:
    """A browser with an empty profile, and more of Chromium's flags."""
    options = ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*_QUIET, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(CHROMEDRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
