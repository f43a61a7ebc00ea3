"""A proxy between the processes of a stack and Postgres, which can cut the connection of any one statement.

It listens on a Unix socket, attributes each connection to a component by the peer's process id, parses the messages
of the Postgres protocol, and identifies statements by their text without values. It can also translate the texts of
errors, as a server does in another language.
"""

import asyncio
import os
import re
import signal
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

SOCKET_NAME = ".s.PGSQL.5432"
_HEAD = struct.Struct("!cI")
_LENGTH = struct.Struct("!I")
_CREDENTIALS = struct.Struct("3i")
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_QUERY, _PARSE, _BIND, _SYNC = b"Q", b"P", b"B", b"S"  # messages of the client
_READY_FOR_QUERY = b"Z"  # message of the server, with the state of the transaction
_ERROR, _NOTICE = b"E", b"N"  # messages of the server, as fields of a type and a text
_TRANSLATED = {
    b"S": "FEHLER",
    b"M": "die Meldung in einer anderen Sprache",
    b"D": "die Einzelheiten",
    b"H": "der Rat",
}
_IDLE = b"I"  # the state outside a transaction
_VALUES = re.compile(r"'(?:[^']|'')*'|\b\d+\b")
_LISTS = re.compile(r"\(\?(?:::\w+)?(?:, \?(?:::\w+)?)*\)(?:, \(\?(?:::\w+)?(?:, \?(?:::\w+)?)*\))*")
_MAX_SHOWN = 120
_TRANSACTION_ENDS = ("COMMIT", "ROLLBACK")


class Moment(StrEnum):
    """When the connection is cut, relative to the statement."""

    BEFORE = "before the server has it"
    AFTER = "after the server has done it"


@dataclass(frozen=True)
class Statement:
    """A component's statement without values; COMMIT and ROLLBACK include the statements of their transaction."""

    component: str
    text: str

    def __str__(self) -> str:
        text = self.text if len(self.text) <= _MAX_SHOWN else self.text[: _MAX_SHOWN - 3] + "..."
        return f"{self.component}: {text}"


@dataclass(frozen=True)
class Cut:
    """Cut the connection at the `occurrence`-th execution (from 1) of a statement, or kill the client process."""

    statement: Statement
    occurrence: int
    moment: Moment
    kill_process: bool = False


@dataclass
class _Connection:
    """A proxied connection and the state of its protocol."""

    pid: int
    component: str | None
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    statement: str = ""
    transaction: list[str] = field(default_factory=list)
    prepared: dict[bytes, str] = field(default_factory=dict)
    pending_replies: int = 1  # the server's greeting also ends with ReadyForQuery
    cut: Cut | None = None
    """When set, replies are withheld from the client, and the connection is aborted after the last pending one."""

    def abort(self, *, kill_process: bool) -> None:
        if kill_process:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.client.transport.abort()
        self.server.transport.abort()


class PostgresProxy:
    """The proxy: `serve` once, then `arm` one cut at a time; it counts the statements since the last `arm`."""

    def __init__(
        self, upstream: Path, component_of: Callable[[int], str | None], *, translates: bool = False
    ) -> None:
        """`upstream` is the folder of the server's socket; with `translates`, no error has its English text."""
        self.statement_counts: Counter[Statement] = Counter()
        self._upstream = upstream
        self._component_of = component_of
        self._translates = translates
        self._armed: Cut | None = None
        self._is_cut = False

    @contextmanager
    def serve(self, folder: Path) -> Iterator[None]:
        """Listen on a socket in `folder` inside the block. Raises OSError when it cannot."""
        ready, stop = threading.Event(), asyncio.Event()
        loop = asyncio.new_event_loop()

        async def run() -> None:
            server = await asyncio.start_unix_server(self._proxy_connection, folder / SOCKET_NAME)
            ready.set()
            await stop.wait()
            server.close()
            connections = asyncio.all_tasks() - {asyncio.current_task()}
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

        thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="postgres-proxy", daemon=True)
        thread.start()
        try:
            if not ready.wait(10):
                raise OSError(f"cannot listen in {folder}: the path of a Unix socket is limited to 107 bytes")
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()

    def arm(self, cut: Cut | None) -> None:
        """Reset the counts, and cut at this statement from now on; None cuts nothing."""
        self.statement_counts = Counter()
        self._is_cut = False
        self._armed = cut

    @property
    def is_cut(self) -> bool:
        """Whether the armed cut was made."""
        return self._is_cut

    async def _proxy_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid, _, _ = _CREDENTIALS.unpack(
            writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        try:
            replies, server = await asyncio.open_unix_connection(self._upstream / SOCKET_NAME)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(pid, self._component_of(pid), writer, server)
        pumps = [
            asyncio.ensure_future(self._forward_requests(connection, reader)),
            asyncio.ensure_future(self._forward_replies(connection, replies)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, server):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()

    async def _forward_requests(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            await _forward_startup(connection, reader)
            while True:
                kind, payload, raw = await _read_message(reader)
                _track_statement(connection, kind, payload)
                if kind in (_QUERY, _SYNC) and (cut := self._count_statement(connection)) is not None:
                    self._is_cut = True
                    if cut.moment is Moment.BEFORE:
                        connection.abort(kill_process=cut.kill_process)
                        return
                    connection.cut = cut
                connection.pending_replies += kind in (_QUERY, _SYNC)
                connection.server.write(raw)
                await connection.server.drain()

    async def _forward_replies(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                kind, payload, raw = await _read_message(reader)
                if kind == _READY_FOR_QUERY:
                    connection.pending_replies -= 1
                    if payload == _IDLE:
                        connection.transaction = []
                if self._translates and kind in (_ERROR, _NOTICE):
                    raw = _translate(kind, payload)
                if connection.cut is None:
                    connection.client.write(raw)
                    await connection.client.drain()
                elif connection.pending_replies == 0:
                    connection.abort(kill_process=connection.cut.kill_process)
                    return

    def _count_statement(self, connection: _Connection) -> Cut | None:
        """Count the connection's current statement; returns the armed cut when it matches."""
        text = connection.statement
        if text in _TRANSACTION_ENDS:
            text = f"{text} of {'; '.join(connection.transaction)}"
        elif not text.startswith("BEGIN"):
            connection.transaction.append(text)
        if connection.component is None:
            return None
        statement = Statement(connection.component, text)
        self.statement_counts[statement] += 1
        cut = self._armed
        if cut is None or self._is_cut or cut.statement != statement:
            return None
        return cut if cut.occurrence == self.statement_counts[statement] else None


def _track_statement(connection: _Connection, kind: bytes, payload: bytes) -> None:
    """Update the connection's current statement from a message of the client."""
    if kind == _QUERY:
        connection.statement = _normalize(payload[:-1])
    elif kind == _PARSE:
        name, text, _ = payload.split(b"\0", 2)
        connection.statement = connection.prepared[name] = _normalize(text)
    elif kind == _BIND:
        _, name, _ = payload.split(b"\0", 2)
        connection.statement = connection.prepared.get(name, connection.statement)


async def _forward_startup(connection: _Connection, reader: asyncio.StreamReader) -> None:
    """Forward the startup message; refuse encryption, as the server does on a Unix socket."""
    while True:
        length = await reader.readexactly(_LENGTH.size)
        rest = await reader.readexactly(_LENGTH.unpack(length)[0] - _LENGTH.size)
        code = _LENGTH.unpack(rest[: _LENGTH.size])[0]
        if code not in (_SSL_REQUEST, _GSS_REQUEST):
            connection.server.write(length + rest)
            await connection.server.drain()
            return
        connection.client.write(b"N")


async def _read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes, bytes]:
    """Read a message: its type, its payload and the raw bytes."""
    head = await reader.readexactly(_HEAD.size)
    kind, length = _HEAD.unpack(head)
    payload = await reader.readexactly(length - _LENGTH.size)
    return kind, payload, head + payload


def _translate(kind: bytes, payload: bytes) -> bytes:
    """The message of an error or a notice with other texts; its SQLSTATE and the other fields stay."""
    fields = [text for text in payload.split(b"\0") if text]
    texts = [text[:1] + _TRANSLATED[text[:1]].encode() if text[:1] in _TRANSLATED else text for text in fields]
    translated = b"".join(text + b"\0" for text in texts) + b"\0"
    return _HEAD.pack(kind, len(translated) + _LENGTH.size) + translated


def _normalize(text: bytes) -> str:
    """Strip values, comments and line breaks from a statement."""
    without_comments = re.sub(r"--[^\n]*", " ", text.decode("utf-8", "replace"))
    return _LISTS.sub("(...)", _VALUES.sub("?", " ".join(without_comments.split())))
