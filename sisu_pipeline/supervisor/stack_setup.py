"""Setup before the processes of a stack start: the database, its schemas, the environment."""

from typing import get_args

from pydantic import SecretStr

from resources.database import Database
from sisu_pipeline import database_server
from sisu_pipeline.queueing.sandbox_provider import check_sandbox
from sisu_pipeline.settings import Settings, child_environment
from sisu_pipeline.store.queues import notification_outbox
from sisu_pipeline.supervisor.database_checks import check_sessions


def check_providers(settings: Settings) -> None:
    """Check that the sandbox provider and, where one makes the plans, the coding agent can run on this machine.

    Also that the file of receivers is usable. Raises SandboxUnavailable, PlannerUnavailable or ReceiversInvalid.
    """
    if settings.sisu_notifications is not None:
        from sisu_pipeline.queueing.notification_provider import open_receivers

        open_receivers(settings)
    check_sandbox(settings)
    if settings.asks_agent:
        # Imported only where it is used: the libraries of the protocols take most of a second.
        from sisu_pipeline.queueing.agent_provider import check_agent

        check_agent(settings)


def prepare(settings: Settings) -> Database:
    """Start the database, create or upgrade every schema (`app`, `dbos`, `dagster`), and store the receivers."""
    found = database_server.up(settings)
    if settings.database_url is not None:
        check_sessions(found)
    make_engine_schemas(found)
    _store_receivers(settings, found)
    return found


def _store_receivers(settings: Settings, found: Database) -> None:
    """Store the receivers of notifications, so that they get the events before the notifier has started."""
    if settings.sisu_notifications is not None:
        from sisu_pipeline.queueing.notification_provider import open_receivers

        listed = [opened.receiver for opened in open_receivers(settings)]
        with found.connect() as connection:
            notification_outbox.replace_receivers(connection, listed)


def make_engine_schemas(found: Database) -> None:
    """Have DBOS and Dagster create or upgrade their own tables. Idempotent."""
    from sisu_pipeline.engine.dagster_storage import PooledPostgresStorage
    from sisu_pipeline.queueing import dbos_queues

    dbos_queues.migrate(found)
    PooledPostgresStorage(found.dagster_url, should_autocreate_tables=True)


def stack_environment(settings: Settings, found: Database, program: str) -> dict[str, str]:
    """The environment of a program of this stack: that of this process, with the stack's variables.

    Secrets that only other programs read are left out.
    """
    environment = child_environment(**stack_variables(settings, found), PYTHONUNBUFFERED="1")
    withheld = _secrets_of_others(settings, program)
    return {name: value for name, value in environment.items() if name.lower() not in withheld}


def _secrets_of_others(settings: Settings, program: str) -> set[str]:
    """The secret settings that neither this program nor every process reads.

    Stock Dagster executes tasks in processes that inherit from the code server.
    """
    executes_tasks = settings.sisu_profile != "warm" and program == "code-server"
    others = set()
    for name, field in Settings.model_fields.items():
        read_by = field.json_schema_extra["read_by"] if isinstance(field.json_schema_extra, dict) else []
        assert isinstance(read_by, list), "settings name their readers"
        readers = {"every process", program, "sandbox-worker" if executes_tasks else program}
        if SecretStr in (field.annotation, *get_args(field.annotation)) and not readers & {*read_by}:
            others.add(name)
    return others


def stack_variables(settings: Settings, found: Database) -> dict[str, str]:
    """The variables by which a process finds this stack: the database, the instance, the code server."""
    receivers = settings.receivers_file
    return {
        **({} if receivers is None else {"SISU_NOTIFICATIONS": str(receivers)}),
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
