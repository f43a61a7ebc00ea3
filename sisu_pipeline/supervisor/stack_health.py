"""What is running, and whether it can do its work: the facts behind `sisu doctor`."""

from collections import Counter
from dataclasses import dataclass, field
from importlib import metadata
from platform import python_version
from typing import Any

import httpx
import psycopg

from resources.database import Connection, DatabaseError
from resources.sandbox.sandbox_port import SandboxUnavailable
from sisu_pipeline.database_server import locate
from sisu_pipeline.queueing.sandbox_provider import check_sandbox
from sisu_pipeline.settings import Settings
from sisu_pipeline.supervisor import port_probes
from sql import query

# Dagster's daemon beats every 30 s at the latest.
STALE_HEARTBEAT_S = 60.0
_HTTP_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Check:
    """One part of the stack: whether it works, and what is to say about it."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class QueueState:
    """Work and workers of one version on one queue."""

    queue: str
    version: str
    enqueued: int
    pending: int
    workers: int

    @property
    def is_stranded(self) -> bool:
        """True when work waits for a version that nobody runs."""
        return self.enqueued > 0 and self.workers == 0


@dataclass(frozen=True)
class Health:
    """Everything at one moment."""

    versions: dict[str, str]
    checks: tuple[Check, ...]
    queues: tuple[QueueState, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """True when every part works and no work is stranded."""
        return all(check.ok for check in self.checks) and not any(queue.is_stranded for queue in self.queues)


def examine(settings: Settings) -> Health:
    """Ask every part of the stack these settings name; a part that does not answer is a check that failed."""
    checks = [_http("api", settings.port, "/healthz"), _http("webserver", settings.admin_port, "/server_info")]
    listening = port_probes.answers(settings.code_socket)
    checks.append(Check("code-server", listening, f"{settings.code_socket}{'' if listening else ': no answer'}"))
    versions = {name: _version(name) for name in ("sisu-pipeline", "dagster", "dbos")}
    versions["python"] = python_version()
    queues: tuple[QueueState, ...] = ()
    try:
        with locate(settings).connect() as connection:
            row = connection.execute(query("doctor.server")).fetchone()
            versions["postgres"] = row["version"] if row else "unknown"
            checks.append(Check("database", True, f"PostgreSQL {versions['postgres']}"))
            checks.append(daemon(connection))
            queues = queue_states(connection)
    except (DatabaseError, psycopg.OperationalError) as error:
        checks.append(Check("database", False, str(error).strip()))
    if settings.sisu_profile == "warm":
        checks += [_workers(queues, queue, settings.dbos__appversion) for queue in ("intentQ", "sbxQ")]
    checks.append(sandbox(settings))
    return Health(versions, tuple(checks), queues)


def daemon(connection: Connection) -> Check:
    """The sensor daemon's heartbeat: without it nothing turns rows into runs."""
    if not exists(connection, "dagster.daemon_heartbeats"):
        return Check("daemon", False, "Dagster has no tables yet: `sisu db migrate`")
    beats = {row["daemon_type"]: row["seconds"] for row in connection.execute(query("doctor.heartbeats"))}
    if "SENSOR" not in beats:
        return Check("daemon", False, "the sensor daemon has never run")
    seconds = max(beats["SENSOR"], 0.0)
    return Check(
        "daemon", seconds < STALE_HEARTBEAT_S, f"the sensor daemon's last heartbeat is {seconds:.0f} s old"
    )


def queue_states(connection: Connection) -> tuple[QueueState, ...]:
    """Work and workers by queue and version; a version that has only one of the two is there too."""
    workers = Counter(_worker(row["application_name"]) for row in connection.execute(query("doctor.workers")))
    work: dict[tuple[str, str], tuple[int, int]] = {}
    if exists(connection, "dbos.workflow_status"):
        for row in connection.execute(query("queues.versions")):
            work[row["queue_name"], row["app_version"]] = (row["enqueued"], row["pending"])
    return tuple(
        QueueState(queue, version, *work.get((queue, version), (0, 0)), workers[queue, version])
        for queue, version in sorted({*workers, *work})
    )


def sandbox(settings: Settings) -> Check:
    """The provider's own word; the local one runs its self-test."""
    try:
        health = check_sandbox(settings)
    except SandboxUnavailable as error:
        return Check("sandbox", False, str(error))
    detail = ", ".join(f"{name} {_plain(value)}" for name, value in health.detail.items())
    return Check("sandbox", health.ok, detail or settings.sbx_mode)


def exists(connection: Connection, table: str) -> bool:
    """Whether a table is there."""
    row = connection.execute(query("oracle.exists"), {"table": table}).fetchone()
    return row is not None and bool(row["present"])


def _workers(queues: tuple[QueueState, ...], queue: str, version: str) -> Check:
    count = sum(state.workers for state in queues if (state.queue, state.version) == (queue, version))
    return Check(f"{queue} workers", count > 0, f"{count} of version {version}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _worker(application_name: str) -> tuple[str, str]:
    """Queue and version from `sisu-worker <queue> <process> <version>`."""
    _, queue, _, version = application_name.split(" ", 3)
    return queue, version


def _http(name: str, port: int, path: str) -> Check:
    url = f"http://127.0.0.1:{port}"
    try:
        response = httpx.get(f"{url}{path}", timeout=_HTTP_TIMEOUT_S, trust_env=False)
    except httpx.TransportError as error:
        return Check(name, False, f"{url}: {error}")
    return Check(name, response.is_success, f"{url}: {response.status_code}")


def _plain(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
