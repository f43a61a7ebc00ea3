"""What must stand before the processes of a stack start: the database, the sandbox, their environment."""

import asyncio

from resources import database
from resources.database import Database
from resources.sandbox.factory import open_sandbox
from resources.sandbox.memory_receipts import MemoryReceipts
from resources.sandbox.port import SandboxHealth
from sisu_pipeline.sandboxes import e2b_settings
from sisu_pipeline.settings import Settings, child_environment


def prepare(settings: Settings) -> Database:
    """The database up, with every schema in it: ours, DBOS' and Dagster's."""
    found = database.up(settings)
    make_engine_schemas(found)
    return found


def make_engine_schemas(found: Database) -> None:
    """DBOS' and Dagster's own tables, made or upgraded by themselves. Safe to repeat."""
    from sisu_pipeline import queues
    from sisu_pipeline.storage import PooledPostgresStorage

    queues.migrate(found)
    PooledPostgresStorage(found.dagster_url, should_autocreate_tables=True)


def stack_environment(settings: Settings, found: Database) -> dict[str, str]:
    """The environment of a process of this stack: this process's own, and where the stack is."""
    return child_environment(**stack_variables(settings, found), PYTHONUNBUFFERED="1")


def stack_variables(settings: Settings, found: Database) -> dict[str, str]:
    """What a process needs to find this stack: the database, the instance, the code server."""
    return {
        "SISU_HOME": str(settings.home),
        "PORT": str(settings.port),
        "ADMIN_PORT": str(settings.admin_port),
        "SISU_PROFILE": settings.sisu_profile,
        "DATABASE_URL": found.url,
        "DAGSTER_HOME": str(settings.dagster_home),
        "DAGSTER_POSTGRES_URL": found.dagster_url,
        "DAGSTER_LOCAL_STORAGE": str(settings.home / "dagster"),
        "DAGSTER_CODE_SOCKET": str(settings.code_socket),
    }


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
