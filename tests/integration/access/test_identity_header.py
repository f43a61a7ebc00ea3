"""People behind a proxy that signs a header: who they are, and that nothing else is believed."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from resources.database import Database
from sisu_pipeline.contracts.access import Person, Role
from sisu_pipeline.store.access import people
from tests.integration.api.conftest import Api, Live, dependencies_over, serving
from tests.integration.gate.conftest import a_token

NAME = "X-Identity"
SECRET = "0123456789abcdef0123456789abcdef"
INTENT = {"goal": "g", "inputs": {}, "constraints": {}}


@pytest.fixture
def proxied(clean_database: Database, tmp_path: Path) -> Iterator[Live]:
    """An API behind a proxy that signs `X-Identity`."""
    environment = {
        "SISU_IDENTITY_HEADER": NAME,
        "SISU_IDENTITY_AUDIENCE": "sisu",
        "SISU_IDENTITY_KEY": SECRET,
        "SISU_GROUP_ROLES": json.dumps({"submitter": ["developers"], "viewer": ["*"]}),
    }
    with serving(dependencies_over(clean_database, tmp_path), environment=environment) as running:
        yield running


def identity(secret: str = SECRET, **changed: Any) -> dict[str, str]:
    now = int(time.time())
    claims = {"aud": "sisu", "iat": now, "exp": now + 60, "email": "ann@example.org", "groups": ["developers"]}
    return {NAME: jwt.encode({"alg": "HS256"}, {**claims, **changed}, OctKey.import_key(secret))}


def test_a_signed_header_names_the_person_of_a_request(proxied: Live) -> None:
    with httpx.Client(base_url=proxied.url, headers={"Host": "sisu.example.org"}, timeout=20) as client:
        session = client.get("/session", headers=identity()).json()
        assert (session["owner"], session["roles"]) == ("ann@example.org", ["submitter", "viewer"])
        assert session["groups"] == ["developers"]
        own = {"Origin": "https://sisu.example.org"}
        assert client.post("/intents", json=INTENT, headers=identity()).json()["code"] == "foreign_origin"
        assert client.post("/intents", json=INTENT, headers=identity() | own).status_code == 201
        refused = client.post("/intents", json=INTENT, headers=identity(groups=["other"]) | own)
        assert refused.json()["code"] == "forbidden"
    with proxied.dependencies.database.connect() as connection:
        ann = people.get(connection, "ann@example.org")
        submitted = connection.execute("SELECT submitted_by FROM app.intents").fetchone()
    assert ann == Person("ann@example.org", frozenset({Role.VIEWER}), frozenset({"other"}))
    assert submitted == {"submitted_by": "ann@example.org"}


def test_the_groups_of_the_last_request_are_stored_whatever_another_process_stored_meanwhile(proxied: Live) -> None:
    database = proxied.dependencies.database
    other = Person("ann@example.org", frozenset({Role.VIEWER}), frozenset({"other"}))
    for _ in range(2):
        assert httpx.get(f"{proxied.url}/runs", headers=identity()).status_code == 200
        with database.connect() as connection:
            assert people.get(connection, other.name).groups == {"developers"}
            people.record(connection, other, "provider")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {NAME: ""},
        {NAME: "ann@example.org"},
        identity("another secret of thirty-two bytes."),
        identity(exp=1),
        identity(iat=1),
        identity(aud="other"),
    ],
    ids=["none", "empty", "unsigned", "another key", "expired", "stale", "another audience"],
)
def test_any_other_header_is_a_401(proxied: Live, headers: dict[str, str]) -> None:
    assert httpx.get(f"{proxied.url}/runs", headers=headers).status_code == 401


def test_an_invalid_header_is_not_made_good_by_a_session(proxied: Live) -> None:
    token = a_token(proxied.dependencies.database, "bob")
    with httpx.Client(base_url=proxied.url, timeout=20) as page:
        assert page.post("/session/cookie", json={"token": token}).status_code == 204
        assert page.get("/session").json()["owner"] == "bob"
        assert page.get("/session", headers={NAME: "forged"}).status_code == 401
    bearer = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{proxied.url}/session", headers=bearer | identity()).json()["owner"] == "bob"


def test_the_header_is_nothing_where_it_is_not_configured(api: Api) -> None:
    a_token(api.dependencies.database, "bob")
    assert api.client.get("/runs", headers=identity()).status_code == 401
