"""URLs with one server or with several, and connections to the newest writer among them.

Several servers are a primary and its standbys. libpq accepts them as `host1:1,host2:2` before the database's name,
SQLAlchemy does not; both accept the parameters `host` and `port` with one value per server.

libpq connects to the first server that accepts writes (`target_session_attrs=read-write`). After a failover that
can be the old primary, when it comes back as a server of its own. Each promotion begins a higher timeline, so every
new connection is checked: a server on an earlier timeline than this machine has seen is left out, and the others
are tried. The server that was the writer last is tried first.

A URL with one server is connected to as it is. Engines of SQLAlchemy do the same by `connection_fence.py`.
"""

import fcntl
import json
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import psycopg
from psycopg import conninfo
from psycopg.rows import Row

from sisu_pipeline.domain.operator_errors import OperatorError
from sql import query

RECORD = "database-timelines.json"
"""File of the data folder: the highest timeline that a process of this machine has seen, by cluster."""
Server = tuple[str, str]
"""Host (or folder of a Unix socket) and port."""

_DEFAULTS = {
    # Only the server that accepts writes is used.
    "target_session_attrs": "read-write",
    # A machine that is lost answers nothing: without limits, a connection would wait for minutes.
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
"""What a URL with several servers means unless it says otherwise (libpq's parameters)."""
_WRITERS = ("read-write", "primary")
_DEFAULT_PORT = "5432"

_folder: Path | None = None
_seen: dict[str, int] = {}
_last_writer: dict[frozenset[Server], Server] = {}


class DatabaseUrlError(OperatorError):
    """A URL does not name a database that this product can use."""

    code = "database"


def normalized(url: str) -> str:
    """The URL with the scheme `postgresql` and, if it names several servers, with their parameters.

    Raises DatabaseUrlError when libpq cannot read it, or when it allows a server that refuses writes.
    """
    url = url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url
    parts = _parameters(url)
    if "," in parts.get("hostaddr", ""):
        raise DatabaseUrlError("DATABASE_URL names several servers by hostaddr: give them as host.")
    if len(servers(url)) < 2:
        return url
    wanted = parts.get("target_session_attrs", _WRITERS[0])
    if wanted not in _WRITERS:
        raise DatabaseUrlError(
            f"DATABASE_URL names several servers, so target_session_attrs must be read-write (got {wanted!r}): "
            "a standby refuses writes."
        )
    hosts, ports = zip(*servers(url), strict=True)
    user, password, name = (quote(parts.pop(key, ""), safe="") for key in ("user", "password", "dbname"))
    account = f"{user}:{password}@" if password else f"{user}@" if user else ""
    query = urlencode(_DEFAULTS | parts | {"host": ",".join(hosts), "port": ",".join(ports)}, quote_via=quote)
    return f"postgresql://{account}/{name}?{query}"


@lru_cache(maxsize=16)
def servers(url: str) -> tuple[Server, ...]:
    """Host and port of each server that a URL names; () when it names none. Raises DatabaseUrlError."""
    parts = _parameters(url)
    hosts = [host for host in parts.get("host", "").split(",") if host]
    ports = (parts.get("port") or _DEFAULT_PORT).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if hosts and len(hosts) != len(ports):
        raise DatabaseUrlError(f"DATABASE_URL names {len(hosts)} hosts and {len(ports)} ports: give one per host.")
    return tuple(zip(hosts, (port or _DEFAULT_PORT for port in ports), strict=False))


def with_options(url: str, option: str) -> str:
    """The URL with one more option of the server's command line, such as `-csearch_path=x`, after its own."""
    address, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    options = [value for key, value in pairs if key == "options"]
    if not options:
        return f"{url}{'&' if query else '?'}options={quote(option)}"
    # libpq reads the last of several.
    others = [(key, value) for key, value in pairs if key != "options"]
    return f"{address}?{urlencode([*others, ('options', f'{options[-1]} {option}')], quote_via=quote)}"


def _parameters(url: str) -> dict[str, str]:
    try:
        return {key: str(value) for key, value in conninfo.conninfo_to_dict(url).items()}
    except psycopg.ProgrammingError as error:
        # libpq's message quotes the URL, which may contain a password.
        place = urlsplit(url).scheme or "it"
        raise DatabaseUrlError(
            f"DATABASE_URL is not a URL that libpq can read ({place}://…): check its host, port and parameters."
        ) from error


class Connected(Protocol):
    """What psycopg, psycopg2 and SQLAlchemy's drivers have in common."""

    @property
    def info(self) -> Any:
        """Facts about the session, such as `host` and `port`."""
        ...

    def cursor(self) -> Any:
        """A cursor."""
        ...

    def rollback(self) -> None:
        """End the transaction."""
        ...

    def close(self) -> None:
        """End the session."""
        ...


C = TypeVar("C", bound=Connected)


def remember_in(folder: Path) -> None:
    """Share the timelines with the other processes of this data folder, and with later ones."""
    global _folder
    _folder = folder


class WriterConnection(psycopg.Connection[Row]):
    """A connection of psycopg to the newest writer."""

    @classmethod
    def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Connect as `psycopg.connect` does. Raises OperationalError without a writer that is the newest."""
        parent = super().connect
        return connect_to_newest(servers(conninfo), lambda changes: parent(conninfo, **options | changes))


class AsyncWriterConnection(psycopg.AsyncConnection[Row]):
    """The same for an event loop."""

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Connect as `psycopg.AsyncConnection.connect` does. Raises OperationalError as above."""
        among = servers(conninfo)
        if len(among) < 2:
            return await super().connect(conninfo, **options)
        search = _Search(among)
        while True:
            connection = await super().connect(conninfo, **options | search.parameters())
            try:
                cursor = await connection.execute(query("writer.timeline"))
                row = await cursor.fetchone()
                await connection.rollback()
                if search.accepts(row, connection.info):
                    return connection
            except BaseException:
                await connection.close()
                raise
            await connection.close()


class NoNewestWriter(psycopg.OperationalError):
    """Every server that accepts writes has been replaced by another one."""


def connect_to_newest(among: Sequence[Server], connect: Callable[[dict[str, str]], C]) -> C:
    """Connect to the newest writer of these servers by `connect`, which takes libpq's `host` and `port`.

    Raises NoNewestWriter, or what `connect` raises.
    """
    if len(among) < 2:
        return connect({})
    search = _Search(among)
    while True:
        connection = connect(search.parameters())
        try:
            cursor = connection.cursor()
            cursor.execute(query("writer.timeline"))
            row = cursor.fetchone()
            cursor.close()
            connection.rollback()
            if search.accepts(row, connection.info):
                return connection
        except BaseException:
            connection.close()
            raise
        connection.close()


class _Search:
    """The servers of one URL that may still be the newest writer."""

    def __init__(self, among: Sequence[Server]) -> None:
        self._all = frozenset(among)
        last = _last_writer.get(self._all)
        self._left = sorted(among, key=lambda server: server != last)

    def parameters(self) -> dict[str, str]:
        """The servers to try, as libpq's parameters. Raises NoNewestWriter."""
        if not self._left:
            raise NoNewestWriter(
                "each server that accepts writes was replaced by a standby that this machine has seen as the "
                "writer: restart the old primary as a standby of the new one"
            )
        hosts, ports = zip(*self._left, strict=True)
        return {"host": ",".join(hosts), "port": ",".join(ports)}

    def accepts(self, row: Any, info: Any) -> bool:
        """Whether the server that answered is the newest writer; if not, it is not tried again."""
        server = (str(info.host), str(info.port))
        if row is not None:
            cluster, timeline = row.values() if isinstance(row, dict) else row
            if _is_newest(cluster, timeline):
                _last_writer[self._all] = server
                return True
        self._left = [each for each in self._left if each != server]
        return False


def _is_newest(cluster: str, timeline: int) -> bool:
    """Whether no higher timeline of the cluster has been seen; a higher one than ever is recorded."""
    known = max(_seen.get(cluster, 0), _recorded().get(cluster, 0))
    if timeline > known:
        _record(cluster, timeline)
    _seen[cluster] = max(timeline, known)
    return timeline >= known


def _recorded() -> dict[str, int]:
    if _folder is None:
        return {}
    try:
        recorded: dict[str, int] = json.loads((_folder / RECORD).read_text())
    except FileNotFoundError:
        return {}
    return recorded


def _record(cluster: str, timeline: int) -> None:
    if _folder is None:
        return
    with (_folder / f"{RECORD}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed
        recorded = _recorded()
        if timeline <= recorded.get(cluster, 0):
            return
        written = _folder / f"{RECORD}.{os.getpid()}"
        written.write_text(json.dumps(recorded | {cluster: timeline}))
        written.replace(_folder / RECORD)
