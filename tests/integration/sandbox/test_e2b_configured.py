"""The e2b provider as the settings and the database open it."""

import asyncio

from resources.database import Database
from resources.sandbox.e2b.e2b_provider import E2bSandbox
from resources.sandbox.memory_receipts import MemoryReceipts
from sisu_pipeline.contracts.sandbox_request import SandboxResult
from sisu_pipeline.queueing.sandbox_provider import open_configured
from sisu_pipeline.settings import load_settings
from tests.integration.sandbox.test_e2b import KEYED, leave_behind
from tests.support.e2b.client import E2bServer
from tests.support.e2b.server import API_KEY
from tests.unit.sandbox.requests import a_request, ignore


def test_the_settings_open_a_provider_that_sweeps_by_the_databases_rows(
    e2b_server: E2bServer, clean_database: Database
) -> None:
    """An orphan of this database (its run is unknown here) dies; a task runs meanwhile."""
    environment = {
        "SBX_MODE": "live",
        "SBX_PROVIDER": "e2b",
        "E2B_API_KEY": API_KEY,
        "E2B_API_URL": e2b_server.url,
        "E2B_SANDBOX_URL": e2b_server.url,
        "E2B_DEPLOYMENT": "tests",
        "E2B_CREATES_PER_SECOND": "100",
    }
    leave_behind(e2b_server, ["a" * 64], "sleep 60")

    async def story() -> tuple[SandboxResult, int]:
        sandbox = open_configured(load_settings(environment), clean_database, MemoryReceipts())
        assert isinstance(sandbox, E2bSandbox)
        result = await sandbox.run(a_request("echo here"), KEYED, ignore)
        swept = await sandbox.sweeper.sweep()
        await sandbox.close()
        return result, swept

    result, swept = asyncio.run(story())
    assert (result.stdout, swept, e2b_server.state()["alive"]) == ("here\n", 1, 0)
