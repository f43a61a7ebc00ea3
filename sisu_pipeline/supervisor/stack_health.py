"""Health checks of the stack's parts, for `sisu doctor`."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Any

import httpx
import psycopg
from psycopg import conninfo

from resources import migrations
from resources.database import Connection, Database, DatabaseError
from sisu_pipeline.database_server import locate
from sisu_pipeline.domain.operator_errors import OperatorError
from sisu_pipeline.queueing.sandbox_provider import check_sandbox
from sisu_pipeline.settings import Settings
from sisu_pipeline.store import deadlines
from sisu_pipeline.store.queues import engine_tables, notification_outbox, queue_depth, worker_deaths
from sisu_pipeline.store.queues import versions as app_versions
from sisu_pipeline.store.queues.queue_depth import QueueState
from sisu_pipeline.supervisor import port_probes
from sisu_pipeline.supervisor.database_checks import check_sessions

# Dagster's daemon sends a heartbeat at least every 30 s.
STALE_HEARTBEAT_S = 60.0
CLOCK_SKEW_S = 5.0
_HTTP_TIMEOUT_S = 3.0
_CONNECT_TIMEOUT_S = 5
_NEEDED_MB = 500
_MOST_PARKED = 99


@dataclass(frozen=True)
class Check:
    """One part of the stack: whether it works, and a detail for the operator."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Health:
    """The state of the whole stack at one moment."""

    versions: dict[str, str]
    checks: tuple[Check, ...]
    queues: tuple[QueueState, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """True when every part works and no work is stranded."""
        return all(check.ok for check in self.checks) and not any(queue.is_stranded for queue in self.queues)


def examine(settings: Settings) -> Health:
    """Check every part of the stack with these settings. A part that cannot be reached is a failed check."""
    checks = [_http("api", settings.port, "/healthz"), _http("webserver", settings.admin_port, "/server_info")]
    listening = port_probes.socket_accepts(settings.code_socket)
    failure = "" if listening else ": refuses connections"
    checks.append(Check("code-server", listening, f"{settings.code_socket}{failure}"))
    versions = {name: _version(name) for name in ("sisu-pipeline", "dagster", "dbos")}
    versions["python"] = python_version()
    queues: tuple[QueueState, ...] | None = None
    try:
        with brief_connection(settings) as connection:
            versions["postgres"] = engine_tables.server_version(connection)
            checks.append(Check("database", True, f"PostgreSQL {versions['postgres']}"))
            checks.append(schema(locate(settings)))
            if settings.database_url is not None:
                checks.append(sessions(locate(settings)))
            checks.append(daemon(connection))
            checks.append(sensors(connection))
            checks.append(clock(connection))
            checks.append(parked(connection))
            if settings.sisu_profile == "warm":
                checks.append(served(connection))
            if settings.sisu_escalation_url is not None:
                checks.append(webhook(connection))
            if settings.sisu_notifications is not None:
                checks.append(receivers(connection))
            queues = queue_depth.queue_states(connection)
    except (DatabaseError, psycopg.Error) as error:
        checks.append(Check("database", False, str(error).strip()))
    if settings.sisu_profile == "warm":
        names = ("intentQ", "sbxQ", "compileQ") if settings.asks_agent else ("intentQ", "sbxQ")
        checks += [_workers(queues, queue, settings.dbos__appversion) for queue in names]
    checks.append(disk(settings.home))
    checks.append(sandbox(settings))
    if settings.asks_agent:
        checks.append(planner(settings))
    return Health(versions, tuple(checks), queues or ())


@contextmanager
def brief_connection(settings: Settings) -> Iterator[Connection]:
    """A connection that waits a few seconds for a server, and for each statement; a server may accept and hang.

    Raises DatabaseError or psycopg.Error.
    """
    url = conninfo.make_conninfo(locate(settings).url, connect_timeout=_CONNECT_TIMEOUT_S)
    with Database(url).connect() as connection:
        engine_tables.limit_statements(connection)
        yield connection


def disk(folder: Path, needed_mb: int = _NEEDED_MB) -> Check:
    """Check that the disk of the data folder has room."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free_mb = shutil.disk_usage(existing).free // 2**20
    is_full = free_mb < needed_mb
    advice = f": make room, at least {needed_mb} MB" if is_full else ""
    return Check("disk", not is_full, f"{free_mb} MB are free in {folder}{advice}")


def schema(database: Database) -> Check:
    """Check that the database has exactly the schema of this release."""
    try:
        missing = migrations.pending(database)
    except DatabaseError as error:
        return Check("schema", False, str(error))
    detail = f"lacks {', '.join(missing)}: run `sisu db migrate`" if missing else "that of this release"
    return Check("schema", not missing, detail)


def sessions(database: Database) -> Check:
    """Check that a server of one's own gives each connection a session: no pooler shares them."""
    try:
        check_sessions(database)
    except (DatabaseError, psycopg.Error) as error:
        return Check("sessions", False, str(error).strip())
    return Check("sessions", True, "each connection has its own")


def daemon(connection: Connection) -> Check:
    """Check the heartbeat of the sensor daemon, which starts runs and continues them after decisions."""
    heartbeats = engine_tables.heartbeats(connection)
    if heartbeats is None:
        return Check("daemon", False, "Dagster has no tables yet: run `sisu db migrate`")
    ages = [heartbeat.seconds for heartbeat in heartbeats if heartbeat.daemon_type == "SENSOR"]
    if not ages:
        return Check("daemon", False, "the sensor daemon has never run")
    seconds = max(*ages, 0.0)
    running = engine_tables.daemons(connection)
    if len(running) > 1:
        return Check(
            "daemon", False, f"{len(running)} sensor daemons are running, stop all but one: {', '.join(running)}"
        )
    return Check(
        "daemon", seconds < STALE_HEARTBEAT_S, f"the sensor daemon's last heartbeat is {seconds:.0f} s old"
    )


def sensors(connection: Connection) -> Check:
    """Check that no sensor was stopped in Dagster: each of them has a part in every run."""
    stopped = engine_tables.stopped_sensors(connection)
    if not stopped:
        return Check("sensors", True, "none is stopped")
    return Check("sensors", False, f"stopped in Dagster: {', '.join(stopped)}. Start them on its page Automation")


def clock(connection: Connection) -> Check:
    """Check that this machine's clock and the database's agree. Runs do not depend on it; people and logs do."""
    seconds = time.time() - engine_tables.server_time(connection)
    ok = abs(seconds) < CLOCK_SKEW_S
    return Check(
        "clock", ok, f"this machine is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the database"
    )


def parked(connection: Connection) -> Check:
    """Check that no intent is parked because its workers died."""
    has_runs = engine_tables.exist(connection, "app.runs")
    runs = worker_deaths.parked(connection, _MOST_PARKED + 1) if has_runs else []
    if not runs:
        return Check("parked runs", True, "none")
    count = f"more than {_MOST_PARKED}" if len(runs) > _MOST_PARKED else str(len(runs))
    last = runs[0].id
    return Check(
        "parked runs", False, f"{count}, because their workers died: `sisu doctor {last}`, `sisu run retry {last}`"
    )


def served(connection: Connection) -> Check:
    """Check that each version with unfinished runs has an intent worker, of its own or of its successor."""
    has_versions = engine_tables.exist(connection, "app.version_adoptions")
    unserved = app_versions.unserved(connection) if has_versions else {}
    if not unserved:
        return Check("versions", True, "each one with unfinished runs has an intent worker")
    listed = ", ".join(f"{count} of {version}" for version, count in unserved.items())
    return Check(
        "versions", False, f"no intent worker takes unfinished runs: {listed}. See `sisu version adopt --help`"
    )


def webhook(connection: Connection) -> Check:
    """Check that the webhook accepted the newest message whose delivery has ended."""
    has_messages = engine_tables.exist(connection, "app.escalations")
    refusal = deadlines.last_refusal(connection) if has_messages else None
    return Check("webhook", refusal is None, refusal or "the last message was delivered, or there was none")


def receivers(connection: Connection) -> Check:
    """Check that each receiver of notifications gets its messages, and that a process sends them."""
    name = "notifications"
    if not engine_tables.exist(connection, "app.notification_receivers"):
        return Check(name, False, "the database lacks their tables: run `sisu db migrate`")
    states = notification_outbox.states(connection)
    troubled = [f"{state.name}: {state.trouble}" for state in states if state.trouble is not None]
    if troubled:
        return Check(
            name, False, f"{'; '.join(troubled)}. Next: `sisu notification list`, `sisu notification test`"
        )
    if not notification_outbox.is_led(connection):
        return Check(name, False, "no process sends them: see the log of the notifier, or start one")
    return Check(name, True, f"{len(states)} receiver(s)")


def sandbox(settings: Settings) -> Check:
    """Check the sandbox provider; the local one runs its self-test."""
    try:
        health = check_sandbox(settings)
    except OperatorError as error:
        return Check("sandbox", False, str(error))
    detail = ", ".join(f"{name} {_plain(value)}" for name, value in health.detail.items())
    return Check("sandbox", health.ok, detail or settings.sbx_mode)


def planner(settings: Settings) -> Check:
    """Check the coding agent: start it in its sandbox and open a session."""
    from sisu_pipeline.queueing.agent_provider import check_agent

    try:
        facts = check_agent(settings)
    except OperatorError as error:
        return Check("planner", False, str(error))
    return Check("planner", True, f"{facts.agent_name or settings.oc_agent} {facts.agent_version or ''}".strip())


def _workers(queues: tuple[QueueState, ...] | None, queue: str, version: str) -> Check:
    if queues is None:
        return Check(f"{queue} workers", False, "unknown: the database cannot be reached")
    count = queue_depth.workers_of(queues, queue, version)
    return Check(f"{queue} workers", count > 0, f"{count} of version {version}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _http(name: str, port: int, path: str) -> Check:
    url = f"http://127.0.0.1:{port}"
    try:
        response = httpx.get(f"{url}{path}", timeout=_HTTP_TIMEOUT_S, trust_env=False)
    except httpx.TransportError as error:
        return Check(name, False, f"{url}: {error}")
    return Check(name, response.is_success, f"{url}: {response.status_code}")


def _plain(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
