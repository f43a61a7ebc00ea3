"""The network of a prepare command: an HTTP proxy on a Unix socket that connects to named hosts and nothing else.

The sandbox has no network of its own. A relay inside connects a port of its loopback with the socket, and the
variables by which package managers find a proxy name that port.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

PORT = 9918
"""The port inside at which the relay waits for connections."""

INNER_CERTIFICATES = "/opt/sisu/certificates.pem"
"""The path inside of the authorities that the host trusts."""

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "CARGO_HTTP_CAINFO", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS")
_SYSTEM_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_HEAD_SECONDS = 30
_CONNECT_SECONDS = 30
_CHUNK = 65536
_TLS_PORT = 443


def certificates() -> str | None:
    """The file of the host with the authorities that it trusts; None where none is found."""
    usual = (ssl.get_default_verify_paths().cafile, _SYSTEM_CERTIFICATES)
    return next((str(Path(path).resolve()) for path in usual if path is not None and Path(path).is_file()), None)


def environment(*, has_certificates: bool) -> dict[str, str]:
    """Variables by which package managers find the proxy and the authorities."""
    found = dict.fromkeys(_PROXIES, f"http://127.0.0.1:{PORT}")
    return found | (dict.fromkeys(_CERTIFICATES, INNER_CERTIFICATES) if has_certificates else {})


class HostProxy:
    """The proxy of one command. `hosts` are names, with a port after a colon unless that is 443."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._allowed = {_address(host) for host in hosts}
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serve(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve the socket for the duration of the block."""
        server = await asyncio.start_unix_server(self._accept, sock=listener)
        try:
            yield
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._handle(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(
                OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError
            ):
                await self._connect(reader, writer)
        finally:
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_SECONDS)
        method, target, _ = head.partition(b"\r\n")[0].decode("ascii").split(" ")
        if method != "CONNECT":
            await _answer(writer, "405 Method Not Allowed", "only https is supported here")
            return
        address = _address(target)
        if address not in self._allowed:
            await _answer(writer, "403 Forbidden", f"{target} is not one of SBX_SETUP_HOSTS")
            return
        try:
            outside = await asyncio.wait_for(asyncio.open_connection(*address), _CONNECT_SECONDS)
        except OSError as error:
            await _answer(writer, "502 Bad Gateway", f"{target} cannot be reached: {error}")
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_copy(reader, outside[1]), _copy(outside[0], writer))
        finally:
            outside[1].close()


def _address(host: str) -> tuple[str, int]:
    """Raises ValueError for a port that is not a number."""
    name, _, port = host.partition(":")
    return name.lower(), int(port) if port else _TLS_PORT


async def _answer(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    body = f"{text}\n".encode(errors="replace")
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    await writer.drain()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(_CHUNK):
        target.write(data)
        await target.drain()
    with suppress(OSError):
        target.write_eof()
