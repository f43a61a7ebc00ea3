"""The two requests of a browser that signs in with the provider: to leave for it, and to come back.

What belongs to one sign-in (state, nonce, code verifier) is kept in a cookie of ten minutes. It is `SameSite=Lax`,
because the provider's page sends the browser back; the session's cookie is `Strict`, so the browser goes on with a
page of this server instead of a redirect, after which it sends that cookie.
"""

import base64
import html
import json
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sisu_pipeline.contracts.access import Person
from sisu_pipeline.single_sign_on.claim_rules import IdentityRefused
from sisu_pipeline.single_sign_on.oidc_client import Attempt, OidcClient
from sisu_pipeline.single_sign_on.sign_on import SignOn

BEGIN = "/sign-in/provider"
CALLBACK = "/sign-in/callback"
_LIFE_S = 600
_POLICY = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"
_ENTERED = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Signed in</title>'
    '<meta http-equiv="refresh" content="0; url=/"><p><a href="/">Continue</a></p></html>'
)

_REFUSED = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Not signed in</title><h1>Not signed in</h1>'
    '<p>{message}</p><p><a href="{begin}">Sign in</a></p></html>'
)


@dataclass(frozen=True)
class BrowserFlow:
    """Sign-in at one port: `base_url` is its address for browsers, `cookie` the name of the attempt's cookie."""

    client: OidcClient
    base_url: str
    cookie: str

    @property
    def redirect_uri(self) -> str:
        """The address to register at the provider."""
        return f"{self.base_url}{CALLBACK}"

    def begin(self, request: Request) -> Response:
        """Send the browser to the provider. Raises ProviderUnavailable.

        Under another name than that of `base_url` the cookie would be lost on the way: a page leads there instead.
        No redirect does, because a proxy that changes `Host` would make it endless.
        """
        if request.headers.get("host", "").lower() != urlsplit(self.base_url).netloc.lower():
            return self.refused(f"Sign in under the address of this deployment, {self.base_url}.", 400)
        place, attempt = self.client.begin(self.redirect_uri)
        answer = RedirectResponse(place, 303, _headers())
        answer.set_cookie(
            self._name, _packed(attempt), max_age=_LIFE_S, httponly=True, samesite="lax", secure=self.is_secure
        )
        return answer

    def finish(self, request: Request) -> Person:
        """The person whom the provider has signed in. Raises IdentityRefused or ProviderUnavailable."""
        attempt = _unpacked(request.cookies.get(self._name, ""))
        if attempt is None:
            raise IdentityRefused("this sign-in was not begun in this browser or took too long: begin again")
        return self.client.finish(attempt, dict(request.query_params), self.redirect_uri)

    def refused(self, message: str, status: int) -> Response:
        """The page that states why the sign-in failed."""
        page = _REFUSED.format(message=html.escape(message), begin=html.escape(f"{self.base_url}{BEGIN}"))
        answer = Response(page, status, media_type="text/html", headers=_headers())
        answer.delete_cookie(self._name, httponly=True, samesite="lax", secure=self.is_secure)
        return answer

    def entered(self) -> Response:
        """The page that leads on; the caller adds the session's cookie."""
        answer = Response(_ENTERED, media_type="text/html", headers=_headers())
        answer.delete_cookie(self._name, httponly=True, samesite="lax", secure=self.is_secure)
        return answer

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach this port by https."""
        return self.base_url.startswith("https:")

    @property
    def _name(self) -> str:
        return f"__Host-{self.cookie}" if self.is_secure else self.cookie


def browser_flow(sign_on: SignOn, base_url: str, port: int) -> BrowserFlow | None:
    """Sign-in at `base_url` for the deployment whose API listens on `port`; None without a provider.

    Cookies do not distinguish ports, so their names do.
    """
    return None if sign_on.provider is None else BrowserFlow(sign_on.provider, base_url, f"sisu_sign_in_{port}")


def _headers() -> dict[str, str]:
    return {"Cache-Control": "no-store", "Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}


def _packed(attempt: Attempt) -> str:
    return base64.urlsafe_b64encode(json.dumps(asdict(attempt)).encode()).decode()


def _unpacked(text: str) -> Attempt | None:
    try:
        content = json.loads(base64.urlsafe_b64decode(text.encode()))
        attempt = Attempt(**content)
    except (ValueError, TypeError):
        return None
    return attempt if all(isinstance(part, str) and part for part in asdict(attempt).values()) else None
