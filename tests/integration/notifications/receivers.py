"""Receivers of notifications on this machine: a web server for webhooks and ntfy, and a mail server."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

SECRET = "s3cret-of-the-webhook"
_EVENT = re.compile(r"ntf_[0-9a-f]{32}")


@dataclass
class Received:
    """The events that a receiver accepted, in order, with each message as it was sent."""

    events: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How often each event was accepted."""
        return dict(Counter(self.events))

    def add(self, text: str, headers: dict[str, str]) -> None:
        """Record a message by the event that it names."""
        found = _EVENT.findall(text)
        self.events += found[-1:]
        self.messages.append(text)
        self.headers.append(headers)


class WebServer:
    """Accepts webhooks below /hook, and what a client of ntfy publishes anywhere else."""

    def __init__(self) -> None:
        self.webhook, self.ntfy = Received(), Received()
        self.answers: list[int] = []
        """Statuses of the next answers to webhooks; then 204."""
        self.released = threading.Event()
        """Webhooks are answered once this is set."""
        self.released.set()
        self.requests = 0
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                is_webhook = self.path.startswith("/hook")
                if is_webhook:
                    web.requests += 1
                    web.released.wait(30)
                status = web.answers.pop(0) if is_webhook and web.answers else 204 if is_webhook else 200
                if status < 300:
                    (web.webhook if is_webhook else web.ntfy).add(body, dict(self.headers))
                self.send_response(status)
                self.send_header("Content-Length", "2" if status == 200 else "0")
                self.end_headers()
                if status == 200:
                    self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server.server_port)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve until the end."""
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            self.released.set()
            self.server.shutdown()
            thread.join()
            self.server.server_close()


class MailServer:
    """Accepts every mail."""

    def __init__(self, port: int) -> None:
        self.received = Received()
        self.controller = Controller(self, hostname="127.0.0.1", port=port)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the library's name
        """Record a mail."""
        text = envelope.content.decode()
        head = text.split("\n\n")[0] if "\r\n\r\n" not in text else text.split("\r\n\r\n")[0]
        self.received.add(head, dict(line.split(": ", 1) for line in head.splitlines() if ": " in line))
        return "250 OK"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve until the end."""
        self.controller.start()
        try:
            yield
        finally:
            self.controller.stop()


@dataclass(frozen=True)
class Place:
    """Three receivers, and the content of the file that lists them."""

    web: WebServer
    mail: MailServer

    def document(self, **members: Any) -> str:
        """The file of receivers; `members` are added to each."""
        mail = f"mailto://localhost:{self.mail.controller.port}?from=sisu@example.org&to=ann@example.org"
        receivers: list[dict[str, Any]] = [
            {"name": "hook", "webhook": f"http://127.0.0.1:{self.web.port}/hook", "secret": SECRET},
            {"name": "phone", "url": f"ntfy://127.0.0.1:{self.web.port}/sisu"},
            {"name": "mail", "url": mail},
        ]
        return json.dumps({"receivers": [{**receiver, **members} for receiver in receivers]})

    @property
    def counts(self) -> list[dict[str, int]]:
        """How often each receiver accepted each event."""
        return [each.counts for each in (self.web.webhook, self.web.ntfy, self.mail.received)]


@contextmanager
def receivers(port: int) -> Iterator[Place]:
    """The receivers, the mail server on this port."""
    place = Place(WebServer(), MailServer(port))
    with place.web.serving(), place.mail.serving():
        yield place


def wait_until(condition: Any, seconds: float = 20) -> float:
    """Wait for a condition; returns how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "the condition did not come true"
        time.sleep(0.01)
    return time.monotonic() - started
