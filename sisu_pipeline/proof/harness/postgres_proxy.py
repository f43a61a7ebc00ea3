"""The wire between the processes of a stack and Postgres, and a knife: any one statement's connection can be cut.

A proxy on a Unix socket. It knows which component each connection belongs to (by the peer's process id), reads the
messages of the Postgres protocol as they pass, and tells statements apart by their text without its values.
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
_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104
_VALUES = re.compile(r"'(?:[^']|'')*'|\b\d+\b")
_LISTS = re.compile(r"\(\?(?:::\w+)?(?:, \?(?:::\w+)?)*\)(?:, \(\?(?:::\w+)?(?:, \?(?:::\w+)?)*\))*")
_IDLE = b"I"  # what a server that is ready for a statement says of its transaction: there is none
_SHOWN = 120
_ENDS_OF_TRANSACTIONS = ("COMMIT", "ROLLBACK")


class Moment(StrEnum):
    """When a statement's connection is lost."""

    BEFORE = "before the server has it"
    AFTER = "after the server has done it"


@dataclass(frozen=True)
class Statement:
    """A statement of a component, by its text without values; the end of a transaction, by all that it ends."""

    component: str
    text: str

    def __str__(self) -> str:
        return f"{self.component}: {self.text if len(self.text) <= _SHOWN else self.text[: _SHOWN - 3] + '...'}"


@dataclass(frozen=True)
class Cut:
    """The `occurrence`-th time (from 1) that a statement is said, its connection is lost; or the process dies."""

    statement: Statement
    occurrence: int
    moment: Moment
    kills: bool = False


@dataclass
class _Link:
    """A connection: what was said on it last, and how many statements the server has not answered yet."""

    pid: int
    component: str | None
    asker: asyncio.StreamWriter
    server: asyncio.StreamWriter
    said: str = ""
    transaction: list[str] = field(default_factory=list)
    prepared: dict[bytes, str] = field(default_factory=dict)
    unanswered: int = 1  # the server's greeting ends like an answer
    cut: Cut | None = None
    """What its asker hears of the server no more; set when the server is to answer once more."""

    def lose(self, *, kills: bool) -> None:
        if kills:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.asker.transport.abort()
        self.server.transport.abort()


class Wire:
    """The proxy. `listen` once, then `hear` what is said or `arm` a cut; one cut at a time."""

    def __init__(self, upstream: Path, component_of: Callable[[int], str | None]) -> None:
        self.heard: Counter[Statement] = Counter()
        self._upstream = upstream
        self._component_of = component_of
        self._armed: Cut | None = None
        self._is_cut = False

    @contextmanager
    def listen(self, folder: Path) -> Iterator[None]:
        """Stand between `folder` and the server for as long as the block."""
        ready, stop = threading.Event(), asyncio.Event()
        loop = asyncio.new_event_loop()

        async def serve() -> None:
            server = await asyncio.start_unix_server(self._connected, folder / SOCKET_NAME)
            ready.set()
            await stop.wait()
            server.close()
            links = asyncio.all_tasks() - {asyncio.current_task()}
            for link in links:
                link.cancel()
            await asyncio.gather(*links, return_exceptions=True)

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="wire", daemon=True)
        thread.start()
        try:
            if not ready.wait(10):
                raise OSError(f"no socket in {folder}: a Unix socket's path may have 107 bytes")
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()

    def arm(self, cut: Cut | None) -> None:
        """From now on count anew; cut when its turn comes."""
        self.heard = Counter()
        self._is_cut = False
        self._armed = cut

    @property
    def is_cut(self) -> bool:
        """Whether the armed cut was made."""
        return self._is_cut

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid, _, _ = _CREDENTIALS.unpack(
            writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        try:
            answers, server = await asyncio.open_unix_connection(self._upstream / SOCKET_NAME)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(pid, self._component_of(pid), writer, server)
        pumps = [asyncio.ensure_future(self._ask(link, reader)), asyncio.ensure_future(self._answer(link, answers))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, server):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()

    async def _ask(self, link: _Link, reader: asyncio.StreamReader) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            await _greet(link, reader)
            while True:
                kind, payload, raw = await _message(reader)
                self._hear(link, kind, payload)
                if kind in (b"Q", b"S") and (cut := self._turn_of(link)) is not None:
                    self._is_cut = True
                    if cut.moment is Moment.BEFORE:
                        link.lose(kills=cut.kills)
                        return
                    link.cut = cut
                link.unanswered += kind in (b"Q", b"S")
                link.server.write(raw)
                await link.server.drain()

    async def _answer(self, link: _Link, reader: asyncio.StreamReader) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                kind, payload, raw = await _message(reader)
                if kind == b"Z":
                    link.unanswered -= 1
                    if payload == _IDLE:
                        link.transaction = []
                if link.cut is None:
                    link.asker.write(raw)
                    await link.asker.drain()
                elif link.unanswered == 0:
                    link.lose(kills=link.cut.kills)
                    return

    def _hear(self, link: _Link, kind: bytes, payload: bytes) -> None:
        """Note what statement a message is about."""
        if kind == b"Q":
            link.said = _shape(payload[:-1])
        elif kind == b"P":
            name, text, _ = payload.split(b"\0", 2)
            link.said = link.prepared[name] = _shape(text)
        elif kind == b"B":
            _, name, _ = payload.split(b"\0", 2)
            link.said = link.prepared.get(name, link.said)

    def _turn_of(self, link: _Link) -> Cut | None:
        """Count the statement; the armed cut, when this is the one."""
        text = link.said
        if text in _ENDS_OF_TRANSACTIONS:
            text = f"{text} of {'; '.join(link.transaction)}"
        elif not text.startswith("BEGIN"):
            link.transaction.append(text)
        if link.component is None:
            return None
        statement = Statement(link.component, text)
        self.heard[statement] += 1
        cut = self._armed
        if cut is None or self._is_cut or cut.statement != statement or cut.occurrence != self.heard[statement]:
            return None
        return cut


async def _greet(link: _Link, reader: asyncio.StreamReader) -> None:
    """Pass the start of a connection on; encryption is refused, as the server would on a Unix socket."""
    while True:
        length = await reader.readexactly(_LENGTH.size)
        rest = await reader.readexactly(_LENGTH.unpack(length)[0] - _LENGTH.size)
        code = _LENGTH.unpack(rest[: _LENGTH.size])[0]
        if code not in (_SSL, _GSS):
            link.server.write(length + rest)
            await link.server.drain()
            return
        link.asker.write(b"N")


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes, bytes]:
    """The next message: its kind, what it carries, and all of it as it came."""
    head = await reader.readexactly(_HEAD.size)
    kind, length = _HEAD.unpack(head)
    payload = await reader.readexactly(length - _LENGTH.size)
    return kind, payload, head + payload


def _shape(text: bytes) -> str:
    """A statement without its values, its comments and its line breaks."""
    words = re.sub(r"--[^\n]*", " ", text.decode("utf-8", "replace"))
    return _LISTS.sub("(...)", _VALUES.sub("?", " ".join(words.split())))
