"""Sessions of browsers: ids of their own, bound to a token and a host name; streams end with the right to read."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import psycopg
import pytest

from resources import migrations
from sisu_pipeline.api.auth import authentication
from sisu_pipeline.cli.commands.decision_commands import user_name
from sisu_pipeline.contracts.access import Person, Role
from sisu_pipeline.store.access import sessions, tokens
from tests.integration.api.conftest import HOST, Api
from tests.integration.gate.conftest import As, a_token
from tests.integration.gate.test_cli import sisu
from tests.integration.gate.world import Waiting

ENDS_WITHIN_S = 5.0


@contextmanager
def signed_in(api: Api, token: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.url, timeout=20) as page:
        assert page.post("/session/cookie", json={"token": token}).status_code == 204
        yield page


def test_the_cookie_is_not_the_token_and_no_bearer(api: Api) -> None:
    token = a_token(api.dependencies.database, "ann")
    with signed_in(api, token) as page:
        (value,) = page.cookies.values()
        assert value != token
        assert httpx.get(f"{api.url}/runs", headers={"Authorization": f"Bearer {value}"}).status_code == 401
        assert page.get("/runs").status_code == 200


def test_a_session_is_valid_under_its_host_name_only(api: Api) -> None:
    with signed_in(api, a_token(api.dependencies.database, "ann")) as page:
        assert page.get("/runs", headers={"Host": "other.example"}).status_code == 401
        assert page.get("/runs").status_code == 200


def test_the_password_of_a_proxy_does_not_end_a_session_and_signs_nobody_in(api: Api) -> None:
    password = {"Authorization": "Basic YW5uOnNpc3VfYW5u"}
    with signed_in(api, a_token(api.dependencies.database, "ann")) as page:
        assert page.get("/session", headers=password).json()["owner"] == "ann"
        assert page.post("/intents", json={}, headers=password).json()["code"] == "foreign_origin"
        page.cookies.clear()
        assert page.get("/session", headers=password).status_code == 401
        page.cookies.set("sisu_session_1", "unknown")
        assert page.get("/session", headers=password).status_code == 401


LINK = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}


def test_a_link_of_another_site_leads_to_a_page_that_opens_it_with_the_session(api: Api) -> None:
    a_token(api.dependencies.database, "ann")
    path = "/artifacts/run/r/a%22%3E%3Cb?x=%22%3E<b>"
    answer = api.client.get(path, headers={**LINK, "Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert 'http-equiv="refresh" content="0; url=/artifacts/run/r/a%22%3E%3Cb?x=%22%3E' in answer.text
    assert "<b>" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    again = api.client.get("/runs", headers={**LINK, "Sec-Fetch-Site": "same-origin"})
    assert (again.status_code, "refresh" in again.text, 'href="/"' in again.text) == (401, False, True)
    double = api.client.get("//evil.example/x", headers={**LINK, "Sec-Fetch-Site": "cross-site"})
    assert "//evil" not in double.text
    program = api.client.get("/runs", headers={"Accept": "text/html"})
    assert program.json()["code"] == "unauthorized"


def test_a_session_ends_when_it_is_closed_expires_or_loses_its_token(api: Api) -> None:
    database = api.dependencies.database
    with database.connect() as connection:
        kept = tokens.create(connection, "sisu_ann", "ann", [Role.VIEWER])
    with (
        signed_in(api, "sisu_ann") as first,
        signed_in(api, "sisu_ann") as second,
        signed_in(api, "sisu_ann") as third,
    ):
        stolen = dict(first.cookies)
        assert first.post("/session/close", headers={"Origin": api.url}).status_code == 204
        assert httpx.get(f"{api.url}/runs", cookies=stolen).status_code == 401
        assert second.get("/runs").status_code == 200
        with database.connect() as connection:
            connection.execute(
                "UPDATE access.sessions SET created_at = now() - interval '2 days',"
                " expires_at = now() - interval '1 hour' WHERE closed_at IS NULL"
                " AND sha256 = encode(sha256(convert_to(%s, 'UTF8')), 'hex')",
                [next(iter(second.cookies.values()))],
            )
        assert second.get("/runs").status_code == 401
        assert third.get("/runs").status_code == 200
        with database.connect() as connection:
            tokens.revoke(connection, kept.id)
        assert third.get("/runs").status_code == 401


def test_under_https_the_cookie_has_the_host_prefix(api: Api) -> None:
    a_token(api.dependencies.database, "ann")
    headers = {"Host": "sisu.example.org", "Origin": "https://sisu.example.org"}
    answer = api.client.post("/session/cookie", json={"token": "sisu_ann"}, headers=headers)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    value = cookie.partition(";")[0]
    assert api.client.get("/runs", headers={**headers, "Cookie": value}).status_code == 200


def test_two_deployments_on_one_host_name_have_cookies_of_their_own() -> None:
    assert sessions.cookie_name(3001) != sessions.cookie_name(3004)


@pytest.mark.parametrize("path", ["/inbox/events", "/runs/{run}/events", "/runs/{run}/output"])
def test_a_stream_ends_within_seconds_of_its_tokens_revocation(api: Api, client_of: As, path: str) -> None:
    assert authentication.RECHECK_S < ENDS_WITHIN_S
    database = api.dependencies.database
    run = Waiting(api.dependencies)
    with database.connect() as connection:
        kept = tokens.create(connection, "sisu_eve", "eve", [Role.VIEWER])
    with (
        httpx.Client(base_url=api.url, headers={"Authorization": "Bearer sisu_eve"}, timeout=20) as client,
        client.stream("GET", path.format(run=run.run_id)) as stream,
    ):
        assert stream.status_code == 200
        lines = stream.iter_lines()
        with database.connect() as connection:
            tokens.revoke(connection, kept.id)
        began = time.monotonic()
        try:
            for _ in lines:
                pass
        except httpx.RemoteProtocolError:
            pass  # the stream is cut off
        assert time.monotonic() - began < ENDS_WITHIN_S + 1


@pytest.mark.parametrize("names", ["id", "person"])
def test_an_operator_ends_sessions_and_their_streams_within_seconds(api: Api, names: str) -> None:
    database = api.dependencies.database
    with database.connect() as connection:
        sessions.open_session_of(connection, "of-eve", Person("eve", frozenset({Role.VIEWER}), frozenset()), HOST)
        sessions.open_session_of(connection, "of-ann", Person("ann", frozenset({Role.VIEWER}), frozenset()), HOST)
    cookie = api.state.session_cookie
    eve, ann = ({"Cookie": f"{cookie}={each}"} for each in ("of-eve", "of-ann"))
    assert api.client.get("/runs", headers=eve).status_code == 200
    listed = sisu(api, "session", "list", url=False, DATABASE_URL=database.url)
    assert [(each["person"], each["tokenId"]) for each in listed] == [("ann", None), ("eve", None)]
    assert "of-eve" not in str(listed)
    which = ["--person", "eve"] if names == "person" else [listed[1]["id"]]
    with api.client.stream("GET", "/inbox/events", headers=eve) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: inbox"
        (ended,) = sisu(api, "session", "end", *which, "--reason", "left", url=False, DATABASE_URL=database.url)
        assert ended["id"] == listed[1]["id"]
        began = time.monotonic()
        with suppress(httpx.RemoteProtocolError):  # the stream is cut off
            for _ in lines:
                pass
        assert time.monotonic() - began < ENDS_WITHIN_S + 1
    assert api.client.get("/runs", headers=eve).status_code == 401
    assert api.client.get("/runs", headers=ann).status_code == 200
    (change,) = sisu(api, "token", "history", url=False, DATABASE_URL=database.url)
    assert [change[name] for name in ("event", "person", "madeBy", "channel", "reason")] == [
        "session ended",
        "eve",
        user_name(),
        "cli",
        "left",
    ]
    refused = sisu(api, "session", "end", listed[1]["id"], status=1, url=False, DATABASE_URL=database.url)
    assert refused["code"] == "not_found"
    assert sisu(api, "session", "end", status=1, url=False, DATABASE_URL=database.url)["code"] == "no_session"


def test_each_change_of_a_token_states_who_made_it_and_is_never_changed(api: Api) -> None:
    database = api.dependencies.database
    made = sisu(api, "token", "create", "ann", "--role", "viewer", url=False, DATABASE_URL=database.url)
    for _ in range(2):
        sisu(api, "token", "revoke", made["id"], "--reason", "lost", url=False, DATABASE_URL=database.url)
    changes = sisu(api, "token", "history", url=False, DATABASE_URL=database.url)
    assert [(each["event"], each["subject"], each["madeBy"], each["reason"]) for each in changes] == [
        ("token revoked", made["id"], user_name(), "lost"),
        ("token created", made["id"], user_name(), "roles viewer"),
    ]
    assert made["token"] not in str(changes)
    for statement in ("UPDATE access.changes SET made_by = 'x'", "DELETE FROM access.changes"):
        with pytest.raises(psycopg.errors.RestrictViolation), database.connect() as connection:
            connection.execute(statement)


def test_tokens_survive_a_reset_of_the_product(api: Api) -> None:
    token = a_token(api.dependencies.database, "ann")
    migrations.reset(api.dependencies.database)
    assert api.get("/runs").status_code == 401
    answer = api.client.get("/runs", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["runs"]) == (200, [])
