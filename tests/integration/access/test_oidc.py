"""Sign-in with an OpenID Connect provider, over real HTTP and with real signatures."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey

from resources.database import Database
from sisu_pipeline.contracts.access import Person, Role
from sisu_pipeline.single_sign_on import oidc_client
from sisu_pipeline.store.access import people
from tests.integration.api.conftest import HOST, Live, dependencies_over, serving
from tests.support.identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, identity_provider

INTENT = {"goal": "g", "inputs": {}, "constraints": {}}
ROLES = {"approver": ["platform"], "submitter": ["developers"], "viewer": ["*"]}


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as running:
        yield running


@pytest.fixture
def asks_userinfo() -> bool:
    """Whether the API also asks the userinfo endpoint; a test overrides it."""
    return False


@pytest.fixture
def live(
    clean_database: Database, tmp_path: Path, provider: IdentityProvider, asks_userinfo: bool
) -> Iterator[Live]:
    """An API whose people sign in with the provider; the secret comes from a file."""
    secret = tmp_path / "secret"
    secret.write_text(f"{CLIENT_SECRET}\n")
    environment = {
        "SISU_OIDC_ISSUER": provider.issuer,
        "SISU_OIDC_CLIENT_ID": CLIENT_ID,
        "SISU_OIDC_CLIENT_SECRET_FILE": str(secret),
        "SISU_GROUP_ROLES": json.dumps(ROLES),
        "SISU_OIDC_USERINFO": str(asks_userinfo).lower(),
    }
    with serving(dependencies_over(clean_database, tmp_path), environment=environment) as running:
        yield running


@pytest.fixture
def browser(live: Live) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url, timeout=20, trust_env=False) as client:
        yield client


def sign_in(browser: httpx.Client) -> httpx.Response:
    """Follow the redirects to the provider and back, as a browser does."""
    return browser.get("/sign-in/provider", follow_redirects=True)


def begin(browser: httpx.Client) -> tuple[str, dict[str, str]]:
    """Where the provider sends the browser back to, and the query it comes with."""
    leaving = browser.get("/sign-in/provider")
    back = httpx.get(leaving.headers["location"], trust_env=False).headers["location"]
    url = urlsplit(back)
    return url.path, {name: values[0] for name, values in parse_qs(url.query).items()}


def test_a_person_signs_in_and_has_the_roles_of_their_groups(
    live: Live, browser: httpx.Client, provider: IdentityProvider
) -> None:
    assert browser.get("/session").status_code == 401
    assert browser.get("/sign-in").json() == {"provider": "/sign-in/provider"}
    entered = sign_in(browser)
    assert entered.status_code == 200
    assert 'url=/"' in entered.text
    session = browser.get("/session").json()
    assert session["owner"] == "ann@example.org"
    assert session["roles"] == ["approver", "viewer"]
    assert session["groups"] == ["platform"]
    with live.dependencies.database.connect() as connection:
        ann = people.get(connection, "ann@example.org")
    assert ann == Person("ann@example.org", frozenset({Role.APPROVER, Role.VIEWER}), frozenset({"platform"}))
    # The session is that of a token: bound to the host name, no bearer, and a change names our origin.
    cookie = browser.cookies[f"sisu_session_{live.port}"]
    assert httpx.get(f"{live.url}/runs", headers={"Authorization": f"Bearer {cookie}"}).status_code == 401
    assert browser.get("/runs", headers={"Host": "other.example"}).status_code == 401
    own = {"Origin": live.url}
    assert browser.post("/intents", json=INTENT, headers=own).json()["code"] == "forbidden"
    provider.claims["groups"] = ["developers"]
    sign_in(browser)
    assert browser.post("/intents", json=INTENT).json()["code"] == "foreign_origin"
    assert browser.post("/intents", json=INTENT, headers=own).status_code == 201
    assert browser.post("/session/close", headers=own).status_code == 204
    assert browser.get("/session").status_code == 401


def test_cookies_of_the_sign_in_are_out_of_reach_of_scripts(browser: httpx.Client) -> None:
    leaving = browser.get("/sign-in/provider").headers["set-cookie"].lower()
    assert "httponly" in leaving
    assert "samesite=lax" in leaving
    entered = sign_in(browser).headers.get_list("set-cookie")
    (session,) = [cookie.lower() for cookie in entered if "sisu_session" in cookie]
    assert "httponly" in session
    assert "samesite=strict" in session
    assert any("sisu_sign_in" in cookie and "Max-Age=0" in cookie for cookie in entered)


def _hand_made(provider: IdentityProvider, algorithm: str) -> bytes:
    now = int(time.time())
    claims = {"iss": provider.issuer, "sub": "1", "aud": CLIENT_ID, "iat": now, "exp": now + 60, **provider.claims}
    header = {"alg": algorithm, "kid": "first"}
    return b".".join(_encoded(json.dumps(each).encode()) for each in (header, claims))


def _encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _none_algorithm(provider: IdentityProvider) -> None:
    provider.forged_token = f"{_hand_made(provider, 'none').decode()}."


def _public_key_as_secret(provider: IdentityProvider) -> None:
    """The classic confusion: HS256 with the published key."""
    signed = _hand_made(provider, "HS256")
    signature = hmac.digest(provider.key.as_pem(private=False), signed, "sha256")
    provider.forged_token = f"{signed.decode()}.{_encoded(signature).decode()}"


def _changed(**claims: Any) -> Callable[[IdentityProvider], None]:
    return lambda provider: provider.changed.update(claims)


def _unknown_key(provider: IdentityProvider) -> None:
    provider.signing_key = RSAKey.generate_key(2048, {"kid": "never published"})


def _same_id_other_key(provider: IdentityProvider) -> None:
    provider.signing_key = RSAKey.generate_key(2048, {"kid": "first"})


def _two_audiences(provider: IdentityProvider) -> None:
    provider.changed.update(aud=[CLIENT_ID, "other"], azp="other")


NOW = int(time.time())
FORGERIES: dict[str, Callable[[IdentityProvider], None]] = {
    "another issuer": _changed(iss="https://evil.example"),
    "no issuer": _changed(iss=None),
    "another audience": _changed(aud="other"),
    "no audience": _changed(aud=None),
    "two audiences, issued to the other": _two_audiences,
    "issued to another client": _changed(azp="other"),
    "another nonce": _changed(nonce="x"),
    "no nonce": _changed(nonce=None),
    "expired": _changed(exp=NOW - 3600),
    "no expiry": _changed(exp=None),
    "from the future": _changed(iat=NOW + 86_400),
    "no subject": _changed(sub=None),
    "no signature": _none_algorithm,
    "signed with the public key": _public_key_as_secret,
    "unknown key": _unknown_key,
    "another key under a known id": _same_id_other_key,
    "no name": _changed(email=None),
    "unverified address": _changed(email_verified=False),
    "a reserved name": _changed(email="sisu:deadline"),
    "an invisible name": _changed(email="ann@example.org\u202e"),
    "groups that are no list": _changed(groups={"platform": True}),
    "another token than JSON": lambda provider: setattr(provider, "forged_token", "a.b.c"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_an_id_token_that_is_not_exactly_right_signs_nobody_in(
    live: Live, browser: httpx.Client, provider: IdentityProvider, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc_client, "KEYS_PAUSE_S", 0.0)
    FORGERIES[name](provider)
    refused = sign_in(browser)
    assert refused.status_code == 401, refused.text
    assert f"sisu_session_{live.port}" not in browser.cookies
    assert browser.get("/session").status_code == 401
    with live.dependencies.database.connect() as connection:
        assert connection.execute("SELECT FROM access.sessions").fetchall() == []


def test_a_person_without_a_group_that_gives_a_role_is_refused(
    clean_database: Database, tmp_path: Path, provider: IdentityProvider
) -> None:
    environment = {
        "SISU_OIDC_ISSUER": provider.issuer,
        "SISU_OIDC_CLIENT_ID": CLIENT_ID,
        "SISU_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "SISU_GROUP_ROLES": '{"approver": ["other"]}',
    }
    with (
        serving(dependencies_over(clean_database, tmp_path), environment=environment) as running,
        httpx.Client(base_url=running.url, timeout=20, trust_env=False) as browser,
    ):
        refused = sign_in(browser)
    assert refused.status_code == 401
    assert "in no group that gives a role" in refused.text


@pytest.mark.parametrize("asks_userinfo", [True])
def test_groups_and_a_missing_name_come_from_the_userinfo_endpoint_too(
    live: Live, browser: httpx.Client, provider: IdentityProvider
) -> None:
    provider.claims["email"] = None
    provider.userinfo = {"sub": "1", "email": "ann@example.org", "groups": ["developers"]}
    assert sign_in(browser).status_code == 200
    session = browser.get("/session").json()
    assert (session["owner"], session["groups"]) == ("ann@example.org", ["developers", "platform"])
    assert session["roles"] == ["approver", "submitter", "viewer"]
    provider.claims["email"] = "bob@example.org"
    sign_in(browser)
    assert browser.get("/session").json()["owner"] == "bob@example.org"


def test_without_the_setting_userinfo_is_not_asked(browser: httpx.Client, provider: IdentityProvider) -> None:
    provider.userinfo = {"sub": "1", "groups": ["developers"]}
    assert sign_in(browser).status_code == 200
    assert browser.get("/session").json()["groups"] == ["platform"]


@pytest.mark.parametrize("asks_userinfo", [True])
@pytest.mark.parametrize(
    ("userinfo", "status"),
    [
        ({"sub": "2", "groups": ["developers"]}, 401),
        ({"groups": ["developers"]}, 401),
        ({"sub": "1", "groups": "developers"}, 401),
        ({"sub": "1", "email_verified": False}, 401),
        ([], 502),
    ],
)
def test_userinfo_that_is_not_exactly_right_signs_nobody_in(
    live: Live, browser: httpx.Client, provider: IdentityProvider, userinfo: Any, status: int
) -> None:
    provider.userinfo = userinfo
    assert sign_in(browser).status_code == status
    assert f"sisu_session_{live.port}" not in browser.cookies


@pytest.mark.parametrize("asks_userinfo", [True])
@pytest.mark.parametrize("endpoint", [None, "ftp://x", "http://127.0.0.1:9/none"])
def test_a_provider_whose_userinfo_cannot_be_asked_is_a_502(
    browser: httpx.Client, provider: IdentityProvider, endpoint: str | None
) -> None:
    provider.metadata["userinfo_endpoint"] = endpoint
    assert sign_in(browser).status_code == 502


def test_the_answer_must_belong_to_the_sign_in_of_this_browser(live: Live, browser: httpx.Client) -> None:
    path, answer = begin(browser)
    with httpx.Client(base_url=live.url, timeout=20, trust_env=False) as victim:
        assert victim.get(path, params=answer).status_code == 401
        begin(victim)
        assert victim.get(path, params=answer).status_code == 401
        assert victim.get("/session").status_code == 401
    for forged in ({**answer, "state": "x"}, {**answer, "iss": "https://evil.example"}, {"code": answer["code"]}):
        path, answer = begin(browser)
        assert browser.get(path, params={**answer, **forged} if "state" in forged else forged).status_code == 401
    assert browser.get("/session").status_code == 401


def test_a_code_is_used_once_and_only_with_its_verifier(browser: httpx.Client) -> None:
    path, answer = begin(browser)
    other = begin(browser)[1]
    # The code of the first sign-in with the state, nonce and verifier of the second.
    assert browser.get(path, params={**answer, "state": other["state"]}).status_code == 502
    path, answer = begin(browser)
    kept = dict(browser.cookies)
    assert browser.get(path, params=answer).status_code == 200
    browser.cookies.update(kept)
    assert browser.get(path, params=answer).status_code == 502


def test_new_keys_of_the_provider_are_read_and_unknown_ones_not_asked_for_without_end(
    browser: httpx.Client, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sign_in(browser).status_code == 200
    provider.key = RSAKey.generate_key(2048, {"kid": "second"})
    monkeypatch.setattr(oidc_client, "KEYS_PAUSE_S", 0.0)
    assert sign_in(browser).status_code == 200
    monkeypatch.setattr(oidc_client, "KEYS_PAUSE_S", 60.0)
    _unknown_key(provider)
    before = provider.key_requests
    for _ in range(3):
        assert sign_in(browser).status_code == 401
    assert provider.key_requests == before


@pytest.mark.parametrize(
    "metadata", [{"issuer": "https://evil.example"}, {"token_endpoint": "ftp://x"}, {"jwks_uri": None}]
)
def test_a_provider_that_is_not_the_configured_one_is_a_502(
    browser: httpx.Client, provider: IdentityProvider, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    answer = browser.get("/sign-in/provider")
    assert answer.status_code == 502
    assert "text/html" in answer.headers["content-type"]


def test_under_another_name_a_page_leads_to_the_address_of_the_deployment(
    live: Live, browser: httpx.Client
) -> None:
    answer = browser.get("/sign-in/provider", headers={"Host": f"localhost:{live.port}"})
    assert answer.status_code == 400
    assert f'href="http://{HOST}:{live.port}/sign-in/provider"' in answer.text
    assert not any(f"sisu_sign_in_{live.port}=ey" in cookie for cookie in answer.headers.get_list("set-cookie"))


def test_with_a_provider_no_request_is_served_without_an_identity(browser: httpx.Client) -> None:
    assert browser.get("/runs").status_code == 401
    assert browser.post("/intents", json=INTENT).status_code == 401
    refused = browser.post("/session/cookie", json={"token": "sisu_wrong"})
    assert refused.status_code == 401
