"""The tables of DBOS and Dagster, each of which may not exist yet, and the server they are on."""

from dataclasses import dataclass

from resources.database import Connection
from sisu_pipeline.domain import worker_names
from sisu_pipeline.store.records import fetch_all, fetch_column, fetch_value

WORKFLOWS = "dbos.workflow_status"
QUEUES = "dbos.queues"
VERSIONS = "dbos.application_versions"
_DAGSTER_RUNS = "dagster.runs"
_INSTIGATORS = "dagster.instigators"
_HEARTBEATS = "dagster.daemon_heartbeats"


@dataclass(frozen=True)
class Heartbeat:
    """The age of the last heartbeat of one of Dagster's daemons, in seconds."""

    daemon_type: str
    seconds: float


def exist(connection: Connection, table: str) -> bool:
    """Whether a table exists; the engines create theirs when they start for the first time."""
    return bool(fetch_value(connection, "oracle.exists", {"table": table}))


def limit_statements(connection: Connection) -> None:
    """Let no statement of this session take longer than ten seconds."""
    fetch_value(connection, "doctor.limit_statements")


def is_writer(connection: Connection) -> bool:
    """Whether the server can be written to: it is no standby."""
    return bool(fetch_value(connection, "doctor.is_writer"))


def workflow_status(connection: Connection, workflow_id: str) -> str | None:
    """DBOS's status of a queue workflow; None for an unknown one."""
    if not exist(connection, WORKFLOWS):
        return None
    status: str | None = fetch_value(connection, "doctor.workflow_status", {"workflow_id": workflow_id})
    return status


def dagster_run_status(connection: Connection, dagster_run_id: str | None) -> str | None:
    """Dagster's status of a run; None for an unknown one."""
    if not exist(connection, _DAGSTER_RUNS):
        return None
    status: str | None = fetch_value(connection, "doctor.dagster_run_status", {"dagster_run_id": dagster_run_id})
    return status


def heartbeats(connection: Connection) -> list[Heartbeat] | None:
    """The heartbeats of Dagster's daemons; None before Dagster has created its tables."""
    return fetch_all(connection, "doctor.heartbeats", Heartbeat) if exist(connection, _HEARTBEATS) else None


def stopped_sensors(connection: Connection) -> list[str]:
    """The names of the sensors that an operator has stopped in Dagster."""
    return fetch_column(connection, "doctor.stopped_sensors") if exist(connection, _INSTIGATORS) else []


def daemons(connection: Connection) -> list[str]:
    """The names of the sensor daemons that are connected to the database."""
    return fetch_column(connection, "doctor.daemons", {"names": worker_names.ANY_DAEMON})


def server_time(connection: Connection) -> float:
    """The server's clock, in seconds since 1970."""
    return float(fetch_value(connection, "doctor.clock"))


def server_version(connection: Connection) -> str:
    """The version of the Postgres server."""
    return str(fetch_value(connection, "doctor.server"))


def backend(connection: Connection) -> int:
    """The process id of the server's session that serves a connection: behind a pooler, it can change."""
    return int(fetch_value(connection, "doctor.backend"))


def search_path(connection: Connection) -> str:
    """The schemas in which unqualified names are looked up."""
    return str(fetch_value(connection, "doctor.search_path"))
