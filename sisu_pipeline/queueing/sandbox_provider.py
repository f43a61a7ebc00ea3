"""The sandbox provider these settings choose, told what it needs to know of the database."""

import asyncio
from collections.abc import Collection

from resources.database import Database
from resources.sandbox.e2b.e2b_settings import E2bSettings
from resources.sandbox.memory_receipts import MemoryReceipts
from resources.sandbox.receipts import Receipts
from resources.sandbox.sandbox_port import Sandbox, SandboxHealth, TaskRef
from resources.sandbox_factory import open_sandbox
from sisu_pipeline.settings import Settings
from sisu_pipeline.store import sandbox_instances


def open_configured(configuration: Settings, database: Database, receipts: Receipts) -> Sandbox:
    """The provider of `SBX_MODE` and `SBX_PROVIDER`. Raises SandboxUnavailable when it refuses to start."""

    def ask(tasks: Collection[TaskRef]) -> Collection[TaskRef]:
        with database.connect() as connection:
            return sandbox_instances.wanted(connection, tasks)

    async def wanted(tasks: Collection[TaskRef]) -> Collection[TaskRef]:
        return await asyncio.to_thread(ask, tasks)

    return open_sandbox(
        configuration.sbx_mode,
        configuration.sbx_provider,
        home=configuration.home,
        receipts=receipts,
        e2b=e2b_settings(configuration, database),
        wanted=wanted,
    )


def e2b_settings(configuration: Settings, database: Database | None) -> E2bSettings | None:
    """The e2b provider's knobs; None without a key. Its sandboxes carry this database's name, or the given one.

    Without a database it is only good for asking whether E2B answers.
    """
    if configuration.e2b_api_key is None or configuration.sbx_provider != "e2b":
        return None
    name = configuration.e2b_deployment
    if name is None and database is not None:
        with database.connect() as connection:
            name = sandbox_instances.deployment(connection)
    return E2bSettings(
        api_key=configuration.e2b_api_key.get_secret_value(),
        deployment=name or "nobody",
        api_url=configuration.e2b_api_url,
        sandbox_url=configuration.e2b_sandbox_url,
        concurrency=configuration.e2b_concurrency,
        creates_per_second=configuration.e2b_creates_per_second,
        longest_life_s=configuration.e2b_longest_life_s,
    )


def check_sandbox(settings: Settings) -> SandboxHealth:
    """Open the provider these settings name (the local one tests itself then) and close it again.

    Raises SandboxUnavailable: a stack whose tasks could not run does not start.
    """
    sandbox = open_sandbox(
        settings.sbx_mode,
        settings.sbx_provider,
        home=settings.home,
        receipts=MemoryReceipts(),
        e2b=e2b_settings(settings, None),
    )

    async def ask() -> SandboxHealth:
        try:
            return await sandbox.health()
        finally:
            await sandbox.close()

    return asyncio.run(ask())
