"""Members of SQLAlchemy, Starlette and the embedded Postgres that their documentation does not mention."""

import inspect
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import Pool, QueuePool, base
from starlette.routing import Match, Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from resources import connection_fence
from resources.database import Database
from resources.embedded_postgres import EmbeddedPostgres
from sisu_pipeline import database_server
from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.api.http.connection_limits import BoundedHttpProtocol
from sisu_pipeline.settings import Settings


def test_a_guarded_engine_makes_no_ping_of_its_own() -> None:
    engine = create_engine("postgresql+psycopg://", pool_pre_ping=True)
    assert engine.pool._pre_ping is True
    connection_fence.guard(engine)
    assert engine.pool._pre_ping is False


def test_the_pool_decides_about_a_ping_by_the_attribute_that_a_guarded_engine_sets() -> None:
    assert issubclass(QueuePool, Pool)
    assert "_pre_ping" in inspect.unwrap(base._ConnectionFairy._checkout).__code__.co_names


@pytest.mark.parametrize(("path", "matches"), [("/healthz", True), ("/healthz\n", False)])
def test_a_guarded_route_matches_by_its_own_pattern(path: str, matches: bool) -> None:
    async def healthz() -> None: ...

    route = GuardedRoute("/healthz", healthz, methods=["GET"])
    found, _ = route.matches({"type": "http", "path": path, "method": "GET"})
    assert (found is Match.FULL) is matches


def test_starlette_still_ends_a_pattern_with_a_dollar_sign() -> None:
    """When this fails, `guarded_route.py` need not replace the pattern any more."""
    assert Route("/healthz", lambda request: None).path_regex.pattern.endswith("$")


def test_the_bundled_programs_lie_where_the_embedded_server_looks(database: Database) -> None:
    for program in ("initdb", "pg_ctl", "postgres", "psql"):
        assert (EmbeddedPostgres(Path()).psql.with_name(program)).is_file()


def test_the_servers_pid_file_says_when_it_accepts_connections(
    database: Database, database_settings: Settings
) -> None:
    lines = (database_server.embedded(database_settings).folder / "postmaster.pid").read_text().split("\n")
    assert int(lines[0]) == database_server.server_pid(database_settings)
    assert lines[7].strip() == "ready"


def test_uvicorns_protocol_calls_what_the_connection_limits_override() -> None:
    """The limits count what comes before `on_headers_complete` and stop there."""
    names = ("connection_made", "connection_lost", "data_received", "on_message_begin", "on_headers_complete")
    for name in (*names, "on_message_complete"):
        assert name in vars(HttpToolsProtocol)
        assert (
            inspect.signature(vars(HttpToolsProtocol)[name]).parameters.keys()
            == inspect.signature(vars(BoundedHttpProtocol)[name]).parameters.keys()
        )
