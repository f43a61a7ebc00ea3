"""An OpenID Connect provider on loopback: real HTTP, real signatures, and every way to answer wrongly."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT_ID = "sisu"
CLIENT_SECRET = "a secret of the client / with a slash"


@dataclass
class IdentityProvider:
    """Signs in `claims` at once. `changed` replaces claims of the ID token; None removes one."""

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=lambda: {"email": "ann@example.org", "groups": ["platform"]})
    changed: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "first"}))
    signing_key: RSAKey | None = None
    """Signs in place of `key`, which is the published one."""
    metadata: dict[str, Any] = field(default_factory=dict)
    forged_token: str | None = None
    key_requests: int = 0
    userinfo: Any = field(default_factory=lambda: {"sub": "1"})
    """What the userinfo endpoint answers to the access token."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def published(self) -> dict[str, Any]:
        """The metadata document."""
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
        places = {name: f"{self.issuer}/{name}" for name in names}
        return {"issuer": self.issuer, **places, **self.metadata}

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser goes after the sign-in."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        assert {"openid", "email"} <= set(query["scope"].split())
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        answer = {"code": code, "state": query["state"], "iss": self.issuer}
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def exchange(self, form: dict[str, str], authorization: str | None) -> dict[str, Any] | None:
        """The tokens for a code, once; None when the request proves nothing."""
        asked = self.codes.pop(form.get("code", ""), None)
        expected = base64.b64encode(b"sisu:a%20secret%20of%20the%20client%20%2F%20with%20a%20slash").decode()
        if asked is None or authorization != f"Basic {expected}" or form["redirect_uri"] != asked["redirect_uri"]:
            return None
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        if challenge.rstrip(b"=").decode() != asked["code_challenge"]:
            return None
        return {"access_token": "x", "token_type": "Bearer", "id_token": self.id_token(asked["nonce"])}

    def id_token(self, nonce: str) -> str:
        """A token of five minutes."""
        if self.forged_token is not None:
            return self.forged_token
        now = int(time.time())
        times = {"iat": now, "exp": now + 300}
        claims = {"iss": self.issuer, "sub": "1", "aud": CLIENT_ID, "nonce": nonce, **times, **self.claims}
        kept = {name: value for name, value in {**claims, **self.changed}.items() if value is not None}
        key = self.signing_key or self.key
        return jwt.encode({"alg": "RS256", "kid": str(key.kid), **self.header}, kept, key)


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """Serve a provider until the block ends."""
    provider = IdentityProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/.well-known/openid-configuration":
                self._answer(200, provider.published())
            elif url.path == "/jwks_uri":
                provider.key_requests += 1
                self._answer(200, KeySet([provider.key]).as_dict(private=False))
            elif url.path == "/userinfo_endpoint" and self.headers["Authorization"] == "Bearer x":
                self._answer(200, provider.userinfo)
            elif url.path == "/authorization_endpoint":
                self.send_response(303)
                self.send_header("Location", provider.authorize(_first(url.query)))
                self.end_headers()
            else:
                self._answer(404, {})

        def do_POST(self) -> None:
            form = _first(self.rfile.read(int(self.headers["Content-Length"])).decode())
            tokens = provider.exchange(form, self.headers["Authorization"])
            self._answer(400 if tokens is None else 200, tokens or {"error": "invalid_grant"})

        def _answer(self, status: int, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()


def _first(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
