"""The signed header of a proxy: only a fresh one, signed with the configured key for us, names a person."""

import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from sisu_pipeline.contracts.access import Person, Role
from sisu_pipeline.domain.setting_errors import SettingsError
from sisu_pipeline.settings import load_settings
from sisu_pipeline.single_sign_on.claim_rules import ClaimRules, IdentityRefused
from sisu_pipeline.single_sign_on.sign_on import sign_on
from sisu_pipeline.single_sign_on.signed_header import MAX_AGE_S, signed_header

NOW = 1_800_000_000
SECRET = "0123456789abcdef0123456789abcdef"
RULES = ClaimRules("email", "groups", {Role.APPROVER: frozenset({"platform"})})
CLAIMS = {"aud": "sisu", "iat": NOW, "exp": NOW + 60, "email": "ann@example.org", "groups": ["platform"]}
EC, RSA = ECKey.generate_key("P-256"), RSAKey.generate_key(2048)
KEYS: dict[str, tuple[str, Any]] = {
    "HS256": (SECRET, OctKey.import_key(SECRET)),
    "ES256": (EC.as_pem(private=False).decode(), EC),
    "RS256": (RSA.as_pem(private=False).decode(), RSA),
}


def signed(algorithm: str, key: Any, **changed: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}
    return jwt.encode({"alg": algorithm}, claims, key)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_fresh_header_of_the_configured_key_names_a_person(algorithm: str) -> None:
    configured, key = KEYS[algorithm]
    header = signed_header("x-identity", configured, "sisu", RULES)
    expected = Person("ann@example.org", frozenset({Role.APPROVER}), frozenset({"platform"}))
    assert header.person(signed(algorithm, key), NOW) == expected


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "other"},
        {"aud": None},
        {"exp": NOW - 60},
        {"exp": None},
        {"iat": None},
        {"iat": NOW + 3600},
        {"iat": NOW - MAX_AGE_S - 60, "exp": NOW + 10_000},
        {"iat": "yesterday"},
        {"nbf": NOW + 3600},
        {"email": None},
        {"email": " "},
        {"email": "policy:default@1"},
        {"email": "\uff33isu:deadline"},
        {"email": "x" * 201},
        {"email_verified": False},
        {"groups": ["other"]},
        {"groups": ["*"]},
        {"groups": "platform"},
        {"groups": ["platform"] * 1001},
    ],
)
@pytest.mark.parametrize("algorithm", KEYS)
def test_a_stale_or_unfit_header_is_refused(algorithm: str, changed: dict[str, Any]) -> None:
    configured, key = KEYS[algorithm]
    with pytest.raises(IdentityRefused):
        signed_header("x-identity", configured, "sisu", RULES).person(signed(algorithm, key, **changed), NOW)


@pytest.mark.parametrize("value", ["", "ann@example.org", "a.b.c", "e30.e30.", json.dumps(CLAIMS), "x" * 20_000])
@pytest.mark.parametrize("algorithm", KEYS)
def test_a_header_without_a_signature_is_refused(algorithm: str, value: str) -> None:
    with pytest.raises(IdentityRefused):
        signed_header("x-identity", KEYS[algorithm][0], "sisu", RULES).person(value, NOW)


@pytest.mark.parametrize("other", KEYS)
@pytest.mark.parametrize("algorithm", KEYS)
def test_another_key_or_algorithm_is_refused(algorithm: str, other: str) -> None:
    others = {
        "HS256": OctKey.generate_key(256),
        "ES256": ECKey.generate_key("P-256"),
        "RS256": RSAKey.generate_key(),
    }
    key: Any = others[other] if other == algorithm else KEYS[other][1]
    with pytest.raises(IdentityRefused):
        signed_header("x-identity", KEYS[algorithm][0], "sisu", RULES).person(signed(other, key), NOW)


@pytest.mark.parametrize(
    "key",
    ["short", "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----", ECKey.generate_key("P-384").as_pem()],
)
def test_an_unfit_key_is_refused_at_start(key: str | bytes) -> None:
    text = key if isinstance(key, str) else key.decode()
    environment = {
        "SISU_IDENTITY_HEADER": "X-Identity",
        "SISU_IDENTITY_AUDIENCE": "sisu",
        "SISU_IDENTITY_KEY": text,
    }
    with pytest.raises(SettingsError) as failure:
        sign_on(load_settings(environment))
    assert text not in str(failure.value)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SISU_IDENTITY_HEADER": "X-Identity"}, "requires SISU_IDENTITY_AUDIENCE"),
        ({"SISU_IDENTITY_HEADER": "X Identity"}, "SISU_IDENTITY_HEADER must"),
        ({"SISU_IDENTITY_HEADER": "X", "SISU_IDENTITY_AUDIENCE": "a"}, "requires SISU_IDENTITY_KEY"),
        ({"SISU_OIDC_ISSUER": "https://id.example"}, "must be set together"),
        ({"SISU_OIDC_ISSUER": "http://id.example", "SISU_OIDC_CLIENT_ID": "a"}, "must begin with https://"),
        ({"SISU_GROUP_ROLES": '{"boss": ["a"]}'}, "unknown role 'boss'"),
        ({"SISU_GROUP_ROLES": '{"viewer": "a"}'}, "must list the groups of viewer"),
        ({"SISU_GROUP_ROLES": "viewer=a"}, "must be a JSON object"),
        (
            {
                "SISU_OIDC_ISSUER": "https://id.example",
                "SISU_OIDC_CLIENT_ID": "a",
                "SISU_OIDC_CLIENT_SECRET_FILE": "/nowhere",
            },
            "SISU_OIDC_CLIENT_SECRET_FILE cannot be read",
        ),
    ],
)
def test_incomplete_settings_are_refused_with_the_reason(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        sign_on(load_settings(environment))


def test_nothing_is_configured_by_default() -> None:
    assert not sign_on(load_settings({})).is_required
