"""Pipes read by the event loop."""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any


async def read_pipe(descriptor: int, feed: Callable[[bytes], None]) -> None:
    """Pass everything from the pipe to `feed` until it ends; closes it, also when canceled."""
    loop = asyncio.get_running_loop()
    closed = loop.create_future()
    transport, _ = await loop.connect_read_pipe(
        lambda: _Reader(feed, closed), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        await closed
    finally:
        transport.close()


class Lines:
    """Parser for a stream of JSON objects, one per line."""

    def __init__(self, on_line: Callable[[dict[str, Any]], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                self._on_line(json.loads(line))


class _Reader(asyncio.Protocol):
    def __init__(self, feed: Callable[[bytes], None], closed: "asyncio.Future[None]") -> None:
        self._feed = feed
        self._closed = closed

    def data_received(self, data: bytes) -> None:
        self._feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closed.done():
            self._closed.set_result(None)
