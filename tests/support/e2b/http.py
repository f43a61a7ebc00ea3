"""Just enough HTTP/1.1 to be in control of the socket: a reply can be late, half, or never come."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Dropped(Exception):
    """The connection is cut without (the rest of) a reply."""


@dataclass(frozen=True)
class Request:
    """One request; header names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body or b"{}")


@dataclass(frozen=True)
class Reply:
    """One reply; `stream` is sent in chunks as it comes, instead of `body`."""

    status: int = 200
    body: bytes = b""
    type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None


def json_reply(value: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON body."""
    return Reply(status, json.dumps(value).encode(), headers=headers)


def error_reply(status: int, message: str, **headers: str) -> Reply:
    """The control API's error shape."""
    return json_reply({"code": status, "message": message}, status, **headers)


Handler = Callable[[Request], Awaitable[Reply]]


async def serve(handler: Handler, port: int) -> asyncio.Server:
    """Listen on loopback; `port` 0 lets the system choose."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                while (request := await _read(reader)) is not None:
                    await _write(writer, await handler(request))
            except Dropped:
                writer.transport.abort()
            finally:
                writer.close()

    return await asyncio.start_server(connection, "127.0.0.1", port, limit=1 << 20)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    return Request(method, parts.path, query, headers, await _body(reader, headers))


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    pieces = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(pieces)


async def _write(writer: asyncio.StreamWriter, reply: Reply) -> None:
    headers = {"content-type": reply.type, **reply.headers}
    if reply.stream is not None:
        headers["transfer-encoding"] = "chunked"
    elif reply.status != 204:
        headers["content-length"] = str(len(reply.body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {reply.status} OK\r\n{lines}\r\n".encode("latin-1") + reply.body)
    await writer.drain()
    if reply.stream is not None:
        async for piece in reply.stream:
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
