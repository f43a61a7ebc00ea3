"""The console at `/docs` works in a real browser under its content security policy."""

from pathlib import Path

import pytest

from sisu_pipeline.proof.harness.lab_stack import LabStack
from tests.e2e.browser import CHROMIUM, browser


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
@pytest.mark.slow
def test_the_console_lists_the_operations_and_nothing_is_refused(stack: LabStack, tmp_path: Path) -> None:
    with browser(tmp_path) as chromium:
        chromium.open(f"{stack.url}/docs")
        chromium.one(".opblock-summary-path", "/intents")
        assert not [line for line in chromium.complaints() if "Refused" in line or "Content Security" in line]
