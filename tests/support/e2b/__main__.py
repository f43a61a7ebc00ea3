"""`python -m tests.support.e2b`: serve until the parent is gone; the first line of output is the port."""

import asyncio
import os
import sys

from tests.support.e2b.http import serve
from tests.support.e2b.server import Server


async def main() -> None:
    """Serve until standard input ends."""
    server = Server()
    listener = await serve(server.handle, 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    # Whoever started us holds the other end; when it is gone, however it went, so are we.
    await asyncio.to_thread(sys.stdin.read)
    listener.close()
    await server.close()
    os._exit(0)  # connections that are still open have nobody at their other end


asyncio.run(main())
