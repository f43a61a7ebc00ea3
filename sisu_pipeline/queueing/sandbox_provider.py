"""The sandbox provider that the settings select, connected to the database."""

import asyncio
from collections.abc import Collection

from resources.database import Database
from resources.sandbox.e2b.e2b_settings import E2bSettings
from resources.sandbox.memory_receipts import MemoryReceipts
from resources.sandbox.receipts import Receipts
from resources.sandbox.sandbox_factory import open_sandbox
from resources.sandbox.sandbox_port import Sandbox, SandboxHealth, TaskRef, TreeResolver
from sisu_pipeline.settings import Settings
from sisu_pipeline.store.queues import sandbox_instances


def open_configured(
    configuration: Settings, database: Database, receipts: Receipts, resolve_tree: TreeResolver | None = None
) -> Sandbox:
    """Open the provider of `SBX_MODE` and `SBX_PROVIDER`. Raises SandboxUnavailable when it refuses to start."""

    def read_wanted(tasks: Collection[TaskRef]) -> Collection[TaskRef]:
        with database.connect() as connection:
            return sandbox_instances.wanted(connection, tasks)

    async def wanted(tasks: Collection[TaskRef]) -> Collection[TaskRef]:
        return await asyncio.to_thread(read_wanted, tasks)

    return open_sandbox(
        configuration.sbx_mode,
        configuration.sbx_provider,
        home=configuration.home,
        receipts=receipts,
        e2b=e2b_settings(configuration, database),
        wanted=wanted,
        resolve_tree=resolve_tree,
        hard_limits=configuration.hard_limits,
        setup_cache_mb=configuration.sbx_setup_cache_mb,
    )


def e2b_settings(configuration: Settings, database: Database | None) -> E2bSettings | None:
    """The settings of the e2b provider; None without a key or for another provider.

    Its sandboxes are labeled with `E2B_DEPLOYMENT` or, by default, with the database's own name. Without a
    database the settings suffice to check whether E2B responds, not to run tasks.
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
    """Open the provider these settings select, which tests itself if it is local, and close it again.

    Raises SandboxUnavailable, so that a stack whose tasks could not run does not start.
    """
    sandbox = open_sandbox(
        settings.sbx_mode,
        settings.sbx_provider,
        home=settings.home,
        receipts=MemoryReceipts(),
        e2b=e2b_settings(settings, None),
        hard_limits=settings.hard_limits,
    )

    async def check() -> SandboxHealth:
        try:
            return await sandbox.health()
        finally:
            await sandbox.close()

    return asyncio.run(check())
