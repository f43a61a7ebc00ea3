"""The Postgres proxy forwards everything, counts statements, and cuts the one connection it is armed for."""

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
from sisu_pipeline.proof.harness.postgres_proxy import Cut, Moment, PostgresProxy, Statement

TABLE = "public.proxy_test"


@dataclass(frozen=True)
class Proxied:
    """A proxy in front of the test's server, and the URL that connects through it."""

    proxy: PostgresProxy
    url: str
    server: Database

    def rows(self) -> list[int]:
        """The rows of the table, read without the proxy."""
        with self.server.connect() as connection:
            return [
                row["value"] for row in connection.execute(f"SELECT value FROM {TABLE} ORDER BY value").fetchall()
            ]


@pytest.fixture
def proxied(database: Database) -> Iterator[Proxied]:
    proxy = PostgresProxy(_folder_of(database), lambda _: "me")
    with tempfile.TemporaryDirectory(prefix="sisu-proxy-") as folder, proxy.serve(Path(folder)):
        with database.connect() as connection:
            connection.execute(f"CREATE TABLE {TABLE} (value int)")
        try:
            yield Proxied(proxy, f"postgresql://postgres@/{DATABASE}?host={folder}", database)
        finally:
            with database.connect() as connection:
                connection.execute(f"DROP TABLE {TABLE}")


def _folder_of(database: Database) -> Path:
    return Path(unquote(database.url.partition("host=")[2]))


def test_statements_are_forwarded_and_counted_without_their_values(proxied: Proxied) -> None:
    with psycopg.connect(proxied.url) as connection:
        proxied.proxy.arm(None)
        connection.execute(f"INSERT INTO {TABLE} VALUES (1), (22)")
        connection.execute(f"INSERT INTO {TABLE} VALUES (%s)", [333])
        with connection.cursor().copy(f"COPY {TABLE} FROM STDIN") as copy:
            copy.write_row([4])
        connection.commit()
        large = connection.execute("SELECT repeat('x', 1000000) AS text").fetchone()
    assert large is not None
    assert len(large[0]) == 1_000_000
    assert proxied.rows() == [1, 4, 22, 333]
    transaction = [
        "INSERT INTO public.proxy_test VALUES (...)",
        "INSERT INTO public.proxy_test VALUES ($?)",
        "COPY public.proxy_test FROM STDIN",
    ]
    counts = proxied.proxy.statement_counts
    assert counts[Statement("me", transaction[0])] == 1
    assert counts[Statement("me", f"COMMIT of {'; '.join(transaction)}")] == 1
    assert counts[Statement("me", "SELECT repeat(...) AS text")] == 1


@pytest.mark.parametrize("moment", Moment)
def test_a_commit_is_cut_before_the_server_has_it_or_after_it_has_executed_it(
    proxied: Proxied, moment: Moment
) -> None:
    insert = f"INSERT INTO {TABLE} VALUES ($?)"
    proxied.proxy.arm(Cut(Statement("me", f"COMMIT of {insert}"), 1, moment))
    with pytest.raises(psycopg.OperationalError), psycopg.connect(proxied.url) as connection:
        connection.execute(f"INSERT INTO {TABLE} VALUES (%s)", [1])
        connection.commit()
    assert proxied.proxy.is_cut
    assert proxied.rows() == ([1] if moment is Moment.AFTER else [])
    # The cut is made once; the next connection works.
    with psycopg.connect(proxied.url) as connection:
        connection.execute(f"INSERT INTO {TABLE} VALUES (%s)", [2])
    assert 2 in proxied.rows()


@pytest.mark.parametrize("moment", Moment)
def test_the_client_process_can_be_killed_at_its_statement(proxied: Proxied, moment: Moment) -> None:
    statement = Statement("me", "INSERT INTO public.proxy_test VALUES (...)")
    proxied.proxy.arm(Cut(statement, 1, moment, kill_process=True))
    insert = (
        f"import psycopg; c = psycopg.connect({proxied.url!r}, autocommit=True); "
        f"c.execute('INSERT INTO {TABLE} VALUES (1)')"
    )
    ended = subprocess.run([sys.executable, "-c", insert], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert proxied.rows() == ([1] if moment is Moment.AFTER else [])


def test_only_the_armed_occurrence_is_cut(proxied: Proxied) -> None:
    proxied.proxy.arm(Cut(Statement("me", "SELECT ?"), 3, Moment.BEFORE))
    with psycopg.connect(proxied.url, autocommit=True) as connection:
        connection.execute("SELECT 1")
        connection.execute("SELECT 2")
        assert not proxied.proxy.is_cut
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 3")
    assert proxied.proxy.is_cut


def test_a_connection_of_an_unknown_process_is_neither_counted_nor_cut(database: Database) -> None:
    proxy = PostgresProxy(_folder_of(database), lambda _: None)
    with tempfile.TemporaryDirectory(prefix="sisu-proxy-") as folder, proxy.serve(Path(folder)):
        proxy.arm(Cut(Statement("me", "SELECT ?"), 1, Moment.BEFORE))
        with psycopg.connect(f"postgresql://postgres@/{DATABASE}?host={folder}") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not proxy.statement_counts
    assert not proxy.is_cut


def test_errors_arrive_in_another_language_with_their_code(database: Database) -> None:
    proxy = PostgresProxy(_folder_of(database), lambda _: "me", translates=True)
    with (
        tempfile.TemporaryDirectory(prefix="sisu-proxy-") as folder,
        proxy.serve(Path(folder)),
        psycopg.connect(f"postgresql://postgres@/{DATABASE}?host={folder}", autocommit=True) as connection,
    ):
        with pytest.raises(psycopg.errors.UndefinedTable) as refused:
            connection.execute("SELECT * FROM no_such_table")
        assert refused.value.diag.message_primary == "die Meldung in einer anderen Sprache"
        assert (refused.value.diag.severity, refused.value.diag.severity_nonlocalized) == ("FEHLER", "ERROR")
        assert connection.execute("SELECT 1").fetchone() == (1,)
