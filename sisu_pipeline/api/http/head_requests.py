"""HEAD for every route that answers GET (RFC 9110, section 9.3.2)."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadRequests:
    """ASGI middleware: serves HEAD as GET, and ends the response after its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request; a stream, which has no end of its own, is canceled after its headers."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        is_answered = asyncio.Event()

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                is_answered.set()

        served = asyncio.ensure_future(self._app({**scope, "method": "GET"}, receive, send_headers))
        answered = asyncio.ensure_future(is_answered.wait())
        try:
            await asyncio.wait({served, answered}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (served, answered):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
