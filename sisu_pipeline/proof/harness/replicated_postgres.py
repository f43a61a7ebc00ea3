"""A primary and a synchronous standby of a lab: the primary is killed, the standby promoted, the old one rebuilt.

Both are embedded servers. A commit waits until the standby has it on disk, so what a client was told survives the
primary. While there is no standby, the writer works alone, as a cluster manager configures it.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil

from resources.database import DATABASE, Database, DatabaseError
from resources.embedded_postgres import EmbeddedPostgres
from sisu_pipeline.proof.harness.lab_stack import LabFailed
from sql import query

_TIMEOUT_S = 60.0
_POLL_INTERVAL_S = 0.05
_STANDALONE = "synchronous_standby_names = ''\nautovacuum = off\n"


@dataclass
class ReplicatedPostgres:
    """Two servers: `primary` accepts writes, `standby` follows it; their roles change with each failover."""

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres
    url: str = field(init=False)

    def __post_init__(self) -> None:
        """Name both servers in one URL, in a fixed order."""
        hosts = ",".join(str(server.folder) for server in (self.primary, self.standby))
        self.url = f"postgresql://postgres@/{DATABASE}?host={quote(hosts, safe='')}"

    def start(self) -> None:
        """Start the primary and its standby. Raises DatabaseError or LabFailed."""
        self.primary.start()
        self.rebuild_standby()

    def rebuild_standby(self) -> None:
        """Make the second server a copy of the primary, and let commits wait for it. Raises LabFailed."""
        self._kill(self.standby)
        shutil.rmtree(self.standby.folder, ignore_errors=True)
        self.standby.make_folder()
        source = ("--host", str(self.primary.folder), "--username", "postgres")
        self.standby.run_program(
            "pg_basebackup", *source, "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"
        )
        for lock in self.standby.folder.glob(".s.PGSQL.*.lock"):
            lock.unlink()  # the primary's, whose socket is in its data folder
        self.standby.start()
        self._configure("failover.wait_for_standby")
        self._wait(lambda: bool(_rows(self.primary, "failover.standby")), "the standby to follow the primary")

    def kill_primary(self) -> int:
        """SIGKILL every process of the primary; returns the process id of its main one."""
        pid = self.primary.pid
        if pid is None:
            raise LabFailed("the primary is not running")
        self._kill(self.primary)
        return pid

    def promote(self) -> None:
        """Make the standby the writer, without a standby of its own."""
        self.standby.run_program("pg_ctl", "-w", "promote")
        self.primary, self.standby = self.standby, self.primary
        self._configure("failover.work_alone")

    def restart_replaced(self) -> None:
        """Start the killed primary as a separate server that accepts and commits writes, beside the new writer."""
        with (self.standby.folder / "postgresql.auto.conf").open("a") as configuration:
            configuration.write(_STANDALONE)
        self.standby.start()

    def next_transaction_of_replaced(self) -> str:
        """The number of that server's next writing transaction: if it stays equal, nothing was written."""
        (row,) = _rows(self.standby, "failover.next_transaction")
        return str(row["xid"])

    def sessions_of_replaced(self) -> int:
        """How many sessions that server has, beside the one that asks."""
        return len(_rows(self.standby, "labs.backends"))

    def stop(self) -> None:
        """Stop both servers."""
        for server in (self.standby, self.primary):
            with suppress(DatabaseError):
                server.stop()
            self._kill(server)

    def _configure(self, statement: str) -> None:
        with _database(self.primary).connect(autocommit=True) as connection:
            connection.execute(query(statement))
            connection.execute(query("failover.reload"))

    def _kill(self, server: EmbeddedPostgres) -> None:
        if server.pid is None:
            return
        with suppress(psutil.NoSuchProcess):
            main = psutil.Process(server.pid)
            # The main process first: it would restart what it loses.
            victims = [main, *main.children(recursive=True)]
            for process in victims:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            _, left = psutil.wait_procs(victims, timeout=20)
            if left:
                raise LabFailed(f"Postgres processes survived: {left}")

    def _wait(self, holds: Callable[[], bool], expected: str) -> None:
        deadline = time.monotonic() + _TIMEOUT_S
        while not holds():
            if time.monotonic() > deadline:
                raise LabFailed(f"timed out after {_TIMEOUT_S:g} s waiting for {expected}")
            time.sleep(_POLL_INTERVAL_S)


@contextmanager
def replicated_postgres(home: Path) -> Iterator[ReplicatedPostgres]:
    """Both servers below `home`, running; stopped at the end. Raises DatabaseError or LabFailed."""
    homes = (home / "a", home / "b")
    for each in homes:
        # As root, the servers run under a different user, which must be able to enter.
        each.mkdir(mode=0o755)
    pair = ReplicatedPostgres(*map(EmbeddedPostgres, homes))
    try:
        pair.start()
        yield pair
    finally:
        pair.stop()


def _database(server: EmbeddedPostgres) -> Database:
    """The maintenance database of a server: it exists from the beginning."""
    return Database(f"postgresql://postgres@/postgres?host={quote(str(server.folder), safe='')}")


def _rows(server: EmbeddedPostgres, statement: str) -> list[dict[str, object]]:
    with _database(server).connect() as connection:
        return connection.execute(query(statement)).fetchall()
