"""The HTTP API as the CLI uses it."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx

from sisu_pipeline.console.exit_codes import CANNOT_WORK, Failure

_TIMEOUT = httpx.Timeout(30, connect=5)
# The API says something every 15 s, if only a heartbeat.
_SILENCE = httpx.Timeout(45, connect=5)


class Api:
    """One API by its base URL. Every method raises Failure: the API's own refusal, or that nobody answers."""

    def __init__(self, url: str | None, token: str | None = None) -> None:
        self.url = (url or _own_url()).rstrip("/")
        # Proxies are for other machines.
        self._http = httpx.Client(base_url=self.url, timeout=_TIMEOUT, trust_env=False, headers=_credentials(token))

    def close(self) -> None:
        """Close the connections; a command that ends does not need to."""
        self._http.close()

    def get(self, *path: str, **query: object) -> Any:
        """The JSON at a path, its parts given unquoted; None in the query is left out."""
        return self._answer("GET", path, params={k: str(v) for k, v in query.items() if v is not None})

    def post(self, *path: str, body: bytes) -> Any:
        """What the API answers to a body."""
        return self._answer("POST", path, content=body)

    def run_events(self, run: str) -> Iterator[dict[str, Any]]:
        """A run's progress as it changes, until the API ends the stream (a terminal status, or its own stop)."""
        yield from self._events("runs", run, "events")

    def run_output(self, run: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """What a run's tasks say while they run, until it has ended; after a break, go on from an `id`."""
        yield from self._events("runs", run, "output", after=after)

    def _events(self, *path: str, after: int = 0) -> Iterator[dict[str, Any]]:
        headers = {"Last-Event-ID": str(after)} if after else {}
        try:
            with self._http.stream("GET", _path(*path), timeout=_SILENCE, headers=headers) as response:
                if response.is_error:
                    response.read()
                    raise _refusal(response)
                identity: dict[str, Any] = {}
                for line in response.iter_lines():
                    if line.startswith("id: "):
                        identity = {"id": int(line.removeprefix("id: "))}
                    if line.startswith("data: "):
                        yield json.loads(line.removeprefix("data: ")) | identity
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def _answer(self, method: str, path: tuple[str, ...], **options: Any) -> Any:
        try:
            response = self._http.request(method, _path(*path), **options)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None
        if response.is_error:
            raise _refusal(response)
        return response.json()

    def _unreachable(self, error: httpx.TransportError) -> Failure:
        if isinstance(error, httpx.ConnectError):
            message = f"nothing answers at {self.url}: is the stack running? `sisu start`"
        else:
            message = f"{self.url} broke off: {str(error) or type(error).__name__}"
        return Failure(message, "unreachable", CANNOT_WORK)


def _own_url() -> str:
    from sisu_pipeline.settings import settings

    return f"http://127.0.0.1:{settings().port}"


def _credentials(token: str | None) -> dict[str, str]:
    if token is not None:
        return {"Authorization": f"Bearer {token}"}
    from sisu_pipeline.settings import settings

    own = settings().sisu_token
    return {} if own is None else {"Authorization": f"Bearer {own.get_secret_value()}"}


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _refusal(response: httpx.Response) -> Failure:
    try:
        problem = response.json()
        return Failure(
            problem["error"],
            problem.get("code", "internal_error"),
            details=problem.get("details", ()),
        )
    except (ValueError, KeyError, TypeError):
        return Failure(f"HTTP {response.status_code}: {response.text[:200]}", "not_the_api")
