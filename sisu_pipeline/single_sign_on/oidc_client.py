"""Sign-in with an OpenID Connect provider: authorization code flow with PKCE, state and nonce.

Identities are read from the ID token, after its signature, issuer, audience, nonce and times are verified. Where
the settings say so, the userinfo endpoint adds what the token lacks, about the same subject only.
"""

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from sisu_pipeline.contracts.access import Person
from sisu_pipeline.single_sign_on.claim_rules import ClaimRules, IdentityRefused

ALGORITHMS = ("RS256", "PS256", "ES256")
"""Signatures of ID tokens that are accepted: asymmetric ones only."""
LEEWAY_S = 60
KEYS_LIFE_S = 3600.0
KEYS_PAUSE_S = 10.0
"""Seconds between two requests for the provider's keys because of an unknown key id."""
_TIMEOUT_S = 10.0
_BASIC = "client_secret_basic"
_LONGEST_ANSWER = 1024 * 1024


class ProviderUnavailable(Exception):
    """The provider does not answer as its protocol demands; the message states what failed."""


@dataclass(frozen=True)
class Provider:
    """The provider and this deployment's registration with it."""

    issuer: str
    client_id: str
    client_secret: str | None
    scopes: str
    asks_userinfo: bool = False
    """Whether the userinfo endpoint adds to the claims of the ID token."""


@dataclass(frozen=True)
class Attempt:
    """One sign-in that has begun: what the browser keeps until it comes back."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True)
class _Tokens:
    identity: str
    access: str | None


@dataclass(frozen=True)
class _Metadata:
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str | None
    takes_basic: bool
    keys: KeySet
    read_at: float


class OidcClient:
    """Begins and finishes sign-ins. The provider's metadata and keys are read when they are first needed."""

    def __init__(self, provider: Provider, rules: ClaimRules) -> None:
        self._provider = provider
        self._rules = rules
        self._known: _Metadata | None = None
        self._lock = threading.Lock()

    def begin(self, redirect_uri: str) -> tuple[str, Attempt]:
        """The provider's address to send the browser to, and the attempt. Raises ProviderUnavailable."""
        attempt = Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(64))
        challenge = hashlib.sha256(attempt.verifier.encode()).digest()
        endpoint = self._metadata().authorization_endpoint
        query = {
            "response_type": "code",
            "client_id": self._provider.client_id,
            "redirect_uri": redirect_uri,
            "scope": self._provider.scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", attempt

    def finish(self, attempt: Attempt, answer: Mapping[str, str], redirect_uri: str) -> Person:
        """The person whom the provider has signed in. `answer` is the query that the browser comes back with.

        Raises IdentityRefused, or ProviderUnavailable.
        """
        if not secrets.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise IdentityRefused("this sign-in was not begun in this browser: begin again")
        if answer.get("iss", self._provider.issuer) != self._provider.issuer:  # RFC 9207
            raise IdentityRefused("the answer comes from another provider")
        if "error" in answer or not answer.get("code"):
            raise IdentityRefused(f"the provider answered {answer.get('error', 'without a code')[:100]!r}")
        tokens = self._exchange(answer["code"], attempt.verifier, redirect_uri)
        claims = self._verified(tokens.identity, attempt.nonce)
        if self._provider.asks_userinfo:
            claims = self._rules.merged(claims, self._userinfo(tokens.access, claims.get("sub")))
        return self._rules.person(claims)

    def _userinfo(self, access_token: str | None, subject: object) -> dict[str, Any]:
        """The claims of the userinfo endpoint. Raises IdentityRefused if they are about another subject."""
        endpoint = self._metadata().userinfo_endpoint
        if endpoint is None or access_token is None:
            raise ProviderUnavailable("the provider has no userinfo endpoint or gave no token for it")
        claims = _request("GET", endpoint, bearer=access_token)
        # OpenID Connect Core §5.3.2: the claims of another subject must not be used.
        if not isinstance(subject, str) or claims.get("sub") != subject:
            raise IdentityRefused("the provider's userinfo is about another subject than the ID token")
        return claims

    def _exchange(self, code: str, verifier: str, redirect_uri: str) -> _Tokens:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": self._provider.client_id,
        }
        metadata, secret = self._metadata(), self._provider.client_secret
        basic = None
        if secret is not None and metadata.takes_basic:
            basic = (quote(self._provider.client_id, safe=""), quote(secret, safe=""))  # RFC 6749 §2.3.1
        elif secret is not None:
            form["client_secret"] = secret
        answer = _request("POST", metadata.token_endpoint, form, basic)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise ProviderUnavailable("the provider returned no ID token for the code")
        access = answer.get("access_token")
        return _Tokens(token, access if isinstance(access, str) else None)

    def _verified(self, token: str, nonce: str) -> dict[str, Any]:
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self._provider.issuer},
            aud={"essential": True, "value": self._provider.client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            claims = self._decoded(token)
            registry.validate(claims)
        except (JoseError, ValueError, TypeError) as failure:
            raise IdentityRefused(f"the ID token is not accepted: {type(failure).__name__}") from None
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else self._provider.client_id) != self._provider.client_id:
            raise IdentityRefused("the ID token was issued to another client")
        return claims

    def _decoded(self, token: str) -> dict[str, Any]:
        try:
            return dict(jwt.decode(token, self._metadata().keys, algorithms=list(ALGORITHMS)).claims)
        except (InvalidKeyIdError, ValueError):
            # The provider may have changed its keys.
            keys = self._metadata(oldest=time.monotonic() - KEYS_PAUSE_S).keys
            return dict(jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims)

    def _metadata(self, oldest: float | None = None) -> _Metadata:
        """The provider's endpoints and keys, read again when they are older than `oldest`."""
        with self._lock:
            known = self._known
            if known is None or known.read_at < (time.monotonic() - KEYS_LIFE_S if oldest is None else oldest):
                self._known = known = self._read()
            return known

    def _read(self) -> _Metadata:
        issuer = self._provider.issuer
        found = _request("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise ProviderUnavailable(
                f"the provider names itself {str(found.get('issuer'))[:200]!r}, not {issuer!r}"
            )
        places = [found.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        scheme = issuer.partition(":")[0]
        if not all(isinstance(place, str) and place.startswith(("https:", f"{scheme}:")) for place in places):
            raise ProviderUnavailable("the provider's metadata lacks an endpoint, or one without https")
        authorization, token, keys = map(str, places)
        userinfo = found.get("userinfo_endpoint")
        if userinfo is not None and not str(userinfo).startswith(("https:", f"{scheme}:")):
            raise ProviderUnavailable("the provider's userinfo endpoint is without https")
        try:
            key_set = KeySet.import_key_set(_request("GET", keys))  # type: ignore[arg-type]
        except (JoseError, KeyError, ValueError, TypeError):
            raise ProviderUnavailable("the provider's keys cannot be read") from None
        methods = found.get("token_endpoint_auth_methods_supported", [_BASIC])
        return _Metadata(
            authorization, token, userinfo and str(userinfo), _BASIC in methods, key_set, time.monotonic()
        )


def _request(
    method: str,
    url: str,
    form: Mapping[str, str] | None = None,
    basic: tuple[str, str] | None = None,
    bearer: str | None = None,
) -> dict[str, Any]:
    """The JSON object that an endpoint of the provider answers with. Raises ProviderUnavailable."""
    place = url.partition("?")[0]
    try:
        headers = {"Accept": "application/json"}
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        answer = httpx.request(method, url, data=form, auth=basic, headers=headers, timeout=_TIMEOUT_S)
    except httpx.HTTPError as failure:
        raise ProviderUnavailable(f"{place} does not answer: {type(failure).__name__}") from None
    if not answer.is_success or len(answer.content) > _LONGEST_ANSWER:
        raise ProviderUnavailable(f"{place} answered with HTTP {answer.status_code}")
    try:
        content = answer.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ProviderUnavailable(f"{place} did not answer with a JSON object")
    return content
