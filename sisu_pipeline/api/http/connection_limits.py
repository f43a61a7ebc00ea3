"""Limits on connections before a request is known: the size and the time of its head, and idle connections."""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 * 1024
"""Bytes of a request line with its headers; more is answered with 431."""
HEAD_TIMEOUT_S = 10.0
"""Seconds until a connection must have sent the head of its request."""
BODY_TIMEOUT_S = 120.0
"""Seconds until the body of a request must have arrived."""
MOST_WAITING = 256
"""Connections that have not sent a request yet; one more closes the oldest of them."""

_REFUSAL = b'{"error":"the headers are larger than 65536 bytes","code":"headers_too_large","details":[]}'
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_REFUSAL), _REFUSAL)
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds that hold before the first line of the application runs."""

    _waiting: ClassVar[dict["BoundedHttpProtocol", None]] = {}

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = True
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection. With too many idle ones, close the oldest that has sent no request."""
        super().connection_made(transport)
        self._wait()
        if len(self._waiting) > MOST_WAITING:
            next(iter(self._waiting))._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data; a head that is still not complete beyond its limit ends the connection."""
        super().data_received(data)
        if self._in_head and self._head_bytes + len(data) > MOST_HEAD_BYTES:
            self.transport.write(_TOO_LARGE)
            self._close()
        elif self._in_head:
            self._head_bytes += len(data)

    def on_message_begin(self) -> None:
        """The first byte of a request on a persistent connection."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        if self._timer is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """The head is complete: the application takes over, and the body has its own time."""
        self._in_head, self._head_bytes = False, 0
        self._stop_waiting()
        self._timer = self.loop.call_later(BODY_TIMEOUT_S, self._close)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._stop_waiting()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the WebSocket protocol, without a limit of its time."""
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def _wait(self) -> None:
        self._waiting[self] = None
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._close)

    def _stop_waiting(self) -> None:
        self._waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self._stop_waiting()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
