"""Tokens are looked up together, never remembered; dead connections are replaced before a request meets them."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from resources.database import Connection, Database
from sisu_pipeline.api.auth.authentication import token_lookups
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.store.access import tokens
from sisu_pipeline.store.access.tokens import Lookup
from tests.integration.api.conftest import Api

Until = Callable[[Callable[[], bool]], None]
_API_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'sisu-api'"
_WAITING_SESSIONS = f"{_API_SESSIONS} AND wait_event_type = 'Lock'"


def a_token(database: Database, owner: str) -> dict[str, str]:
    with database.connect() as connection:
        tokens.create(connection, f"sisu_{owner}", owner, [Role.VIEWER])
    return {"Authorization": f"Bearer sisu_{owner}"}


def sessions(database: Database, statement: str) -> int:
    with database.connect() as connection:
        return len(connection.execute(statement).fetchall())


def test_those_who_come_while_one_is_looked_up_share_the_next_look_up(api: Api, until: Until) -> None:
    database = api.dependencies.database
    people = [f"person {number}" for number in range(6)]
    for person in people:
        a_token(database, person)
    given = [f"sisu_{person}" for person in people] + ["sisu_unknown", None]

    async def crowd() -> list[Lookup]:
        together = token_lookups(api.state.pool)
        with database.connect() as connection:
            connection.execute("LOCK TABLE app.api_tokens IN ACCESS EXCLUSIVE MODE")
            first = [asyncio.create_task(together.submit(token)) for token in given]
            await asyncio.to_thread(until, lambda: sessions(database, _WAITING_SESSIONS) > 0)
            second = [asyncio.create_task(together.submit(token)) for token in given]
            await asyncio.sleep(0)
            assert sessions(database, _WAITING_SESSIONS) == 1
        return await asyncio.gather(*first, *second)

    found = asyncio.run(crowd())
    assert [each.owner for each in found] == [*people, None, None] * 2
    assert all(each.required for each in found)


def test_a_client_that_leaves_does_not_end_the_look_up_of_the_others(api: Api, until: Until) -> None:
    database = api.dependencies.database
    a_token(database, "ann")

    async def crowd() -> Lookup:
        together = token_lookups(api.state.pool)
        with database.connect() as connection:
            connection.execute("LOCK TABLE app.api_tokens IN ACCESS EXCLUSIVE MODE")
            leaves, stays = (asyncio.create_task(together.submit("sisu_ann")) for _ in range(2))
            await asyncio.to_thread(until, lambda: sessions(database, _WAITING_SESSIONS) == 1)
            leaves.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaves
        return await stays

    assert asyncio.run(crowd()).owner == "ann"


def test_no_request_that_begins_after_a_revocation_is_let_in_however_many_are_under_way(api: Api) -> None:
    database = api.dependencies.database
    headers = a_token(database, "ann")
    seen: list[tuple[float, int]] = []
    revoked = threading.Event()

    def knock() -> None:
        with httpx.Client(base_url=api.url, headers=headers, timeout=30, trust_env=False) as client:
            refusals = 0
            while refusals < 5:
                was_revoked, status = revoked.is_set(), client.get("/session").status_code
                seen.append((was_revoked, status))
                refusals += status == 401

    with ThreadPoolExecutor(6) as crowd:
        knocking = [crowd.submit(knock) for _ in range(6)]
        while len(seen) < 30:
            time.sleep(0.01)
        with database.connect() as connection:
            tokens.revoke(connection, tokens.every(connection)[0].id)
        revoked.set()
        for each in knocking:
            each.result(30)
    assert {status for was_revoked, status in seen if was_revoked} == {401}
    assert (False, 200) in seen


def test_a_token_made_now_is_asked_for_by_the_very_next_request(api: Api) -> None:
    assert api.get("/runs").status_code == 200
    headers = a_token(api.dependencies.database, "ann")
    assert api.get("/runs").status_code == 401
    assert api.client.get("/runs", headers=headers).status_code == 200


def test_a_session_that_ends_while_it_is_used_for_the_first_statement_is_replaced(api: Api) -> None:
    pool = api.state.pool
    ended: list[int] = []

    def own_session(connection: Connection) -> int:
        pid = connection.info.backend_pid
        if not ended:
            ended.append(pid)
            # Between the pool's check and the statement: nothing can tell that it is dead.
            with api.dependencies.database.connect() as other:
                other.execute("SELECT pg_terminate_backend(%s)", [pid])
        connection.execute("SELECT pg_sleep(0.2)")
        return pid

    assert pool.glance(own_session) not in ended
    ended.clear()
    assert pool.statement(own_session) not in ended


def test_a_transaction_does_not_begin_on_a_dead_connection(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = api.state.pool
    # As if a session ended between the pool's check and the transaction's begin.
    monkeypatch.setattr("resources.connection_fence._has_something_to_read", lambda _: False)
    with pool.connect() as connection:
        dead = connection.info.backend_pid
    with api.dependencies.database.connect() as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sisu-api'")
    with pool.connect() as connection:
        assert connection.info.backend_pid != dead
        assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}


def test_sessions_that_postgres_ended_are_replaced_before_anybody_meets_them(api: Api, until: Until) -> None:
    database = api.dependencies.database
    with ThreadPoolExecutor(12) as crowd:
        assert {each.status_code for each in crowd.map(lambda _: api.get("/runs"), range(24))} == {200}
        with database.connect() as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sisu-api'"
            ).fetchall()
        assert ended
        until(lambda: sessions(database, _API_SESSIONS) == 0)
        assert {each.status_code for each in crowd.map(lambda _: api.get("/runs"), range(24))} == {200}
