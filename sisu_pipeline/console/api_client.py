"""HTTP client for the API."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx

from sisu_pipeline.console.exit_codes import ENVIRONMENT_ERROR, Failure
from sisu_pipeline.contracts.operation import CLI_AGENT

_TIMEOUT = httpx.Timeout(30, connect=5)
# An event stream carries a heartbeat every 15 s.
_STREAM_TIMEOUT = httpx.Timeout(45, connect=5)


class Api:
    """The API at one base URL. Every method raises Failure when the API refuses the request or is unreachable."""

    def __init__(self, url: str | None, token: str | None = None) -> None:
        self.url = (url or _default_url()).rstrip("/")
        # The stack is local: proxy settings of the environment do not apply.
        self._http = httpx.Client(base_url=self.url, timeout=_TIMEOUT, trust_env=False, headers=_headers(token))

    def close(self) -> None:
        """Close the connections; optional for a process that exits."""
        self._http.close()

    def get(self, *path: str, **query: object) -> Any:
        """GET a path, given as unquoted segments; query parameters that are None are left out."""
        return self._request("GET", path, params={k: str(v) for k, v in query.items() if v is not None})

    def text(self, *path: str, **query: object) -> str:
        """GET a path whose content is text; query parameters that are None are left out."""
        return self._send("GET", path, params={k: str(v) for k, v in query.items() if v is not None}).text

    def download(self, *path: str, **query: Any) -> bytes:
        """GET the content of a path, given as unquoted segments."""
        return self._send("GET", path, params=query).content

    def post(self, *path: str, body: bytes) -> Any:
        """POST a body to a path, given as unquoted segments; returns the response's JSON."""
        return self._request("POST", path, content=body)

    def run_events(self, run: str) -> Iterator[dict[str, Any]]:
        """Yield the run's state at every change, until the API ends the stream: terminal status or shutdown."""
        yield from self._events("runs", run, "events")

    def run_output(self, run: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the output of the run's tasks until the run ends; `after` is the id of the last piece received."""
        yield from self._events("runs", run, "output", after=after)

    def _events(self, *path: str, after: int = 0) -> Iterator[dict[str, Any]]:
        headers = {"Last-Event-ID": str(after)} if after else {}
        try:
            with self._http.stream("GET", _path(*path), timeout=_STREAM_TIMEOUT, headers=headers) as response:
                if response.is_error:
                    response.read()
                    raise _failure_from(response)
                event_id: dict[str, Any] = {}
                for line in response.iter_lines():
                    if line.startswith("id: ") and path[-1] == "output":
                        event_id = {"id": int(line.removeprefix("id: "))}
                    if line.startswith("data: "):
                        yield json.loads(line.removeprefix("data: ")) | event_id
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def _request(self, method: str, path: tuple[str, ...], **options: Any) -> Any:
        return self._send(method, path, **options).json()

    def _send(self, method: str, path: tuple[str, ...], **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, _path(*path), **options)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None
        if response.is_error:
            raise _failure_from(response)
        return response

    def _unreachable(self, error: httpx.TransportError) -> Failure:
        if isinstance(error, httpx.ConnectError):
            message = f"cannot connect to {self.url}; start the stack with `sisu start`"
        else:
            message = f"connection to {self.url} failed: {str(error) or type(error).__name__}; try again"
        return Failure(message, "unreachable", ENVIRONMENT_ERROR)


def _default_url() -> str:
    from sisu_pipeline.settings import settings

    return f"http://127.0.0.1:{settings().port}"


def _headers(token: str | None) -> dict[str, str]:
    return {"User-Agent": CLI_AGENT, **_credentials(token)}


def _credentials(token: str | None) -> dict[str, str]:
    if token is not None:
        return {"Authorization": f"Bearer {token}"}
    from sisu_pipeline.settings import settings

    own = settings().sisu_token
    return {} if own is None else {"Authorization": f"Bearer {own.get_secret_value()}"}


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _failure_from(response: httpx.Response) -> Failure:
    try:
        problem = response.json()
        return Failure(
            problem["error"],
            problem.get("code", "internal_error"),
            details=problem.get("details", ()),
        )
    except (ValueError, KeyError, TypeError):
        message = f"{response.url} is not the Sisu API: HTTP {response.status_code}: {response.text[:200]}"
        return Failure(message, "not_the_api")
