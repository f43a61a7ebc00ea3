"""The wire before Postgres passes everything on, hears it, and loses the one statement it is told to lose."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import psycopg
import pytest

from resources.database import DATABASE, Database
from sisu_pipeline.proof.harness.postgres_proxy import Cut, Moment, Statement, Wire

TABLE = "public.wire_test"


@dataclass(frozen=True)
class Tapped:
    """A wire in front of the test's server, and how to connect through it."""

    wire: Wire
    url: str
    server: Database

    def rows(self) -> list[int]:
        """What the table holds, seen past the wire."""
        with self.server.connect() as connection:
            return [
                row["value"] for row in connection.execute(f"SELECT value FROM {TABLE} ORDER BY value").fetchall()
            ]


@pytest.fixture
def tapped(database: Database) -> Iterator[Tapped]:
    wire = Wire(Path(unquote(database.url.partition("host=")[2])), lambda _: "me")
    with tempfile.TemporaryDirectory(prefix="sisu-wire-") as folder, wire.listen(Path(folder)):
        with database.connect() as connection:
            connection.execute(f"CREATE TABLE {TABLE} (value int)")
        try:
            yield Tapped(wire, f"postgresql://postgres@/{DATABASE}?host={folder}", database)
        finally:
            with database.connect() as connection:
                connection.execute(f"DROP TABLE {TABLE}")


def test_everything_passes_and_is_heard_without_its_values(tapped: Tapped) -> None:
    with psycopg.connect(tapped.url) as connection:
        tapped.wire.arm(None)
        connection.execute(f"INSERT INTO {TABLE} VALUES (1), (22)")
        connection.execute(f"INSERT INTO {TABLE} VALUES (%s)", [333])
        with connection.cursor().copy(f"COPY {TABLE} FROM STDIN") as copy:
            copy.write_row([4])
        connection.commit()
        large = connection.execute("SELECT repeat('x', 1000000) AS text").fetchone()
    assert large is not None
    assert len(large[0]) == 1_000_000
    assert tapped.rows() == [1, 4, 22, 333]
    said = [
        "INSERT INTO public.wire_test VALUES (...)",
        "INSERT INTO public.wire_test VALUES ($?)",
        "COPY public.wire_test FROM STDIN",
    ]
    assert tapped.wire.heard[Statement("me", said[0])] == 1
    assert tapped.wire.heard[Statement("me", f"COMMIT of {'; '.join(said)}")] == 1
    assert tapped.wire.heard[Statement("me", "SELECT repeat(...) AS text")] == 1


@pytest.mark.parametrize("moment", Moment)
def test_a_commit_is_lost_before_the_server_has_it_or_after_it_was_done(tapped: Tapped, moment: Moment) -> None:
    insert = f"INSERT INTO {TABLE} VALUES ($?)"
    tapped.wire.arm(Cut(Statement("me", f"COMMIT of {insert}"), 1, moment))
    with pytest.raises(psycopg.OperationalError), psycopg.connect(tapped.url) as connection:
        connection.execute(f"INSERT INTO {TABLE} VALUES (%s)", [1])
        connection.commit()
    assert tapped.wire.is_cut
    assert tapped.rows() == ([1] if moment is Moment.AFTER else [])
    # Once; the next connection is as good as any.
    with psycopg.connect(tapped.url) as connection:
        connection.execute(f"INSERT INTO {TABLE} VALUES (%s)", [2])
    assert 2 in tapped.rows()


@pytest.mark.parametrize("moment", Moment)
def test_a_process_can_die_with_its_statement(tapped: Tapped, moment: Moment) -> None:
    tapped.wire.arm(Cut(Statement("me", "INSERT INTO public.wire_test VALUES (...)"), 1, moment, kills=True))
    insert = (
        f"import psycopg; c = psycopg.connect({tapped.url!r}, autocommit=True); "
        f"c.execute('INSERT INTO {TABLE} VALUES (1)')"
    )
    ended = subprocess.run([sys.executable, "-c", insert], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert tapped.rows() == ([1] if moment is Moment.AFTER else [])


def test_only_the_time_that_was_asked_for_is_cut(tapped: Tapped) -> None:
    tapped.wire.arm(Cut(Statement("me", "SELECT ?"), 3, Moment.BEFORE))
    with psycopg.connect(tapped.url, autocommit=True) as connection:
        connection.execute("SELECT 1")
        connection.execute("SELECT 2")
        assert not tapped.wire.is_cut
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 3")
    assert tapped.wire.is_cut


def test_a_connection_of_nobody_we_know_is_neither_heard_nor_cut(database: Database) -> None:
    wire = Wire(Path(unquote(database.url.partition("host=")[2])), lambda _: None)
    with tempfile.TemporaryDirectory(prefix="sisu-wire-") as folder, wire.listen(Path(folder)):
        wire.arm(Cut(Statement("me", "SELECT ?"), 1, Moment.BEFORE))
        with psycopg.connect(f"postgresql://postgres@/{DATABASE}?host={folder}") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not wire.heard
    assert not wire.is_cut
