"""Machines for tests: a Postgres on TCP and, where we may, a network namespace per machine."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.database import DATABASE, Database
from sisu_pipeline import database_server as server
from sisu_pipeline.settings import Settings, load_settings


@dataclass(frozen=True)
class Machine:
    """Where a worker group runs: its network namespace, and the address Postgres has from there."""

    namespace: str | None
    postgres: str


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """So many machines: network namespaces when this is root with `ip`, else plain processes of this one."""
    with ExitStack() as stack:
        try:
            yield [stack.enter_context(_namespace(number)) for number in range(count)]
        except _NoNamespaces:
            yield [Machine(None, "127.0.0.1")] * count


class _NoNamespaces(Exception):
    """This machine or user may not make network namespaces."""


@contextmanager
def _namespace(number: int) -> Iterator[Machine]:
    name, net = f"sisu{os.getpid()}n{number}", f"10.{203 + number}.{os.getpid() % 250}"
    host_end, guest_end = f"si{os.getpid()}h{number}", f"si{os.getpid()}g{number}"
    if os.geteuid() != 0 or shutil.which("ip") is None or not _try("ip", "netns", "add", name):
        raise _NoNamespaces
    try:
        made = (
            _try("ip", "link", "add", host_end, "type", "veth", "peer", "name", guest_end, "netns", name)
            and _try("ip", "addr", "add", f"{net}.1/30", "dev", host_end)
            and _try("ip", "link", "set", host_end, "up")
            and _try("ip", "-n", name, "addr", "add", f"{net}.2/30", "dev", guest_end)
            and _try("ip", "-n", name, "link", "set", guest_end, "up")
            and _try("ip", "-n", name, "link", "set", "lo", "up")
        )
        if not made:
            raise _NoNamespaces
        yield Machine(name, f"{net}.1")
    finally:
        # The pair of links goes with its end in the namespace.
        _try("ip", "link", "del", host_end)
        _try("ip", "netns", "del", name)


def _try(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def tcp_postgres(addresses: list[str]) -> Iterator[int]:
    """The embedded server's programs on TCP at these addresses and loopback; yields the port."""
    with tempfile.TemporaryDirectory(prefix="sisu-tcp-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # the server's own user passes through it
        settings = load_settings({"SISU_HOME": folder})
        server.up(settings)
        server.down(settings)
        port = _free_port()
        data = server.embedded(settings).folder
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 127.0.0.1/32 trust\n")
            rules.writelines(f"host all all {address}/30 trust\n" for address in addresses)
        listen = ",".join(["127.0.0.1", *addresses])
        _pg_ctl(settings, "start", "-o", f"-h {listen} -p {port} -k {data} -c fsync=off")
        try:
            yield port
        finally:
            _pg_ctl(settings, "stop", "-m", "immediate")


def on_tcp(address: str, port: int) -> Database:
    """The database as it is reached over the network."""
    return Database(f"postgresql://postgres@{address}:{port}/{DATABASE}")


def _pg_ctl(settings: Settings, verb: str, *arguments: str) -> None:
    data = server.embedded(settings).folder
    program = server.embedded(settings).psql.with_name("pg_ctl")
    # Postgres refuses to run as root: it runs as whoever its files belong to.
    owner = data.stat()
    command = [str(program), "-D", str(data), "-w", "-l", str(data / "tcp.log"), verb, *arguments]
    become: dict[str, Any] = {} if os.geteuid() != 0 else {"user": owner.st_uid, "group": owner.st_gid}
    subprocess.run(command, check=True, capture_output=True, cwd="/", **become)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
