"""The pictures of the inbox in docs/images: `python -m tests.e2e.screenshots` takes them again."""

import tempfile
from pathlib import Path

from sisu_pipeline import database_server as server
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.settings import PROJECT_ROOT, load_settings
from sisu_pipeline.store import runs
from tests.builders import a_run, an_intent
from tests.e2e.browser import DESKTOP, PHONE, Browser, browser
from tests.integration.api.conftest import Live, dependencies_over, serving
from tests.integration.gate.test_ask import ASK
from tests.integration.gate.world import Waiting

DOCS = PROJECT_ROOT / "docs" / "images"
BEFORE = "def discount(total, percent):\n    return total - total * percent / 100\n"
AFTER = (
    "from decimal import Decimal\n\n\ndef discount(total: Decimal, percent: Decimal) -> Decimal:\n"
    "    return (total - total * percent / 100).quantize(Decimal('0.01'))\n"
)


def main() -> None:
    """Take them."""
    with tempfile.TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as folder:
        settings = load_settings({"SISU_HOME": folder})
        database = server.up(settings)
        try:
            with serving(dependencies_over(database, Path(folder))) as live, browser(Path(folder) / "c") as page:
                _take(page, live)
        finally:
            server.down(settings)


def _take(page: Browser, live: Live) -> None:
    patches = [{"targetPath": "kiosk/discounts.py", "postimageContent": AFTER, "diffText": "decimals"}]
    plan = Waiting(
        live.dependencies,
        goal="Round discounts to the cent",
        constraints={"planApprovalTimeoutS": 1800},
        files={"kiosk/discounts.py": BEFORE},
        patches=patches,
        tests=["tests/test_discount_rounding.py", "tests/test_basket_total.py"],
    )
    Waiting(live.dependencies, goal="Deploy the kiosk", constraints=ASK)
    done = Waiting(live.dependencies, goal="Remove the unused receipt template")
    with live.dependencies.database.connect() as connection:
        connection.execute(
            "INSERT INTO app.plan_approvals (run_id, decision, decided_by) VALUES (%s, 'approved', 'Ann')",
            [done.run_id],
        )
        runs.move(connection, a_run(connection, an_intent("Upgrade the money library")), RunStatus.RUNNING)
    done.segment()
    for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
        page.resize(size)
        page.open(live.url)
        page.one("#finished li")
        page.screenshot(DOCS / f"inbox-{name}.png")
        page.open(f"{live.url}/#/runs/{plan.run_id}")
        page.one("#gate")
        page.resize((size[0], 1500))
        page.screenshot(DOCS / f"inbox-gate-{name}.png")


if __name__ == "__main__":
    main()
