"""Every code block of README and docs has a language, and every language that can be checked is checked.

`test_docs_commands.py` checks shell commands, and `tests/e2e` runs those of README and of the worked example.
`tests/integration/engine/test_documents.py` runs SQL, `test_docs_intent.py` and `test_notification_message.py`
validate JSON, and `tests/integration/test_extending.py` applies diffs and runs Python; `test_docs_generated.py`
compares generated pages. `tests/e2e/test_clients.py` runs the Python and the generators of `clients.md`;
`tests/e2e/test_reverse_proxies.py` runs nginx and Apache.
"""

from pathlib import Path

import pytest

from sisu_pipeline.settings import PROJECT_ROOT
from tests.docs_generators.markdown import DOCS
from tests.docs_generators.markdown_page import MarkdownPage

PAGES = [PROJECT_ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
CHECKED_EVERYWHERE = {"bash"}
# Configuration of other programs, and plain text.
UNCHECKED = {"text"}
CHECKED_ON = {
    "sql": {page.name for page in DOCS.glob("*.md")},
    "json": {"intent.md", "human-gate.md", "repositories.md", "setups.md", "notifications.md"},
    "diff": {"extending.md"},
    "python": {"clients.md", "extending.md"},
    "yaml": {"clients.md"},
    "mermaid": {"state-machine.md"},
    "nginx": {"reverse-proxy.md"},
    "apache": {"reverse-proxy.md"},
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_ROOT)))
def test_every_code_block_is_checked_or_marked_as_text(page: Path) -> None:
    languages = {block.language for block in MarkdownPage(page).blocks}
    checked = {language for language, names in CHECKED_ON.items() if page.name in names}
    assert languages <= checked | CHECKED_EVERYWHERE | UNCHECKED


def test_the_documented_proxy_keeps_the_port_of_the_host_header() -> None:
    """Both servers compare it with `Origin`, which has the port; nginx's `$host` drops it."""
    page = MarkdownPage(DOCS / "reverse-proxy.md")
    lines = [line.strip() for block in page.blocks if block.language == "nginx" for line in block.text.splitlines()]
    hosts = [line for line in lines if line.startswith("proxy_set_header Host ")]
    assert hosts == ["proxy_set_header Host $http_host;"] * 2
