"""Requests to the API over HTTP: paths, credentials, timeouts, errors and server-sent events."""

import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from sisu_pipeline.client.request_failed import UNREACHABLE, RequestFailed

_CONNECT_TIMEOUT_S = 5.0
# An event stream carries a heartbeat every 15 s.
_STREAM_TIMEOUT_S = 45.0
_LONGEST_EXCERPT = 200


class HttpTransport:
    """The API at one base URL. Every method raises RequestFailed when a request is refused or unanswered.

    Paths are unquoted segments. Proxy settings of the environment do not apply: requests contain a token.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout_s: float = 30.0, user_agent: str = "sisu-client"
    ) -> None:
        """Create the client without connecting. `timeout_s` limits each wait for the server, in seconds.

        Raises ValueError for a URL with credentials, a query or a fragment: URLs appear in logs.
        """
        self.url = _checked(url)
        headers = {"User-Agent": user_agent} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S))
        self._http = httpx.Client(base_url=self.url, timeout=timeout, trust_env=False, headers=headers)

    def close(self) -> None:
        """Close the connections; optional for a process that exits."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, *path: str, **query: object) -> Any:
        """GET a path and return the JSON; query parameters that are None are left out."""
        return self._json(self.send("GET", *path, params=_given(query)))

    def text(self, *path: str, **query: object) -> str:
        """GET a path whose content is text; query parameters that are None are left out."""
        return self.send("GET", *path, params=_given(query)).text

    def download(self, *path: str, **query: object) -> bytes:
        """GET the content of a path; query parameters that are None are left out."""
        return self.send("GET", *path, params=_given(query)).content

    def post(self, *path: str, body: bytes | Mapping[str, Any]) -> Any:
        """POST a JSON object, or bytes as they are, and return the JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._json(self.send("POST", *path, content=content, headers={"Content-Type": "application/json"}))

    def send(self, method: str, *path: str, **options: Any) -> httpx.Response:
        """Send a request with options of httpx and return the response, whose status is no error."""
        try:
            response = self._http.request(method, _path(path), **options)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None
        if response.is_error:
            raise _refusal(response)
        return response

    def events(self, *path: str, after: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the JSON of each server-sent event until the API ends the stream.

        With `after`, the last id that was received or 0, each event has its id as the member `id`.
        """
        headers = {"Last-Event-ID": str(after)} if after else {}
        timeout = httpx.Timeout(_STREAM_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
        try:
            with self._http.stream("GET", _path(path), timeout=timeout, headers=headers) as response:
                if response.is_error:
                    response.read()
                    raise _refusal(response)
                yield from _parsed(response.iter_lines(), with_ids=after is not None)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError:
            raise _foreign(response) from None

    def _unreachable(self, error: httpx.TransportError) -> RequestFailed:
        if isinstance(error, httpx.ConnectError):
            message = f"cannot connect to {self.url}; start the stack with `sisu start`"
        else:
            message = f"connection to {self.url} failed: {str(error) or type(error).__name__}; try again"
        return RequestFailed(message, UNREACHABLE)


def _checked(url: str) -> str:
    parsed = urlsplit(url)
    if parsed.scheme not in ("http", "https") or not parsed.hostname:
        raise ValueError("the URL of the API must begin with http:// or https:// and a host")
    if "@" in parsed.netloc or parsed.query or parsed.fragment:
        raise ValueError("the URL of the API has no credentials, query or fragment: give the token by itself")
    return url.rstrip("/")


def _path(parts: tuple[str, ...]) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _given(query: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in query.items() if value is not None}


def _parsed(lines: Iterator[str], with_ids: bool) -> Iterator[dict[str, Any]]:
    event_id: dict[str, Any] = {}
    for line in lines:
        if with_ids and line.startswith("id: "):
            event_id = {"id": int(line.removeprefix("id: "))}
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: ")) | event_id


def _refusal(response: httpx.Response) -> RequestFailed:
    try:
        problem = response.json()
        message, code = problem["error"], problem.get("code", "internal_error")
        return RequestFailed(message, code, response.status_code, problem.get("details", ()))
    except (ValueError, KeyError, TypeError, AttributeError):
        return _foreign(response)


def _foreign(response: httpx.Response) -> RequestFailed:
    excerpt = response.text[:_LONGEST_EXCERPT]
    message = f"{response.url} is not the Sisu API: HTTP {response.status_code}: {excerpt}"
    return RequestFailed(message, "not_the_api", response.status_code)
