"""Channels that messages leave by: signed webhooks, and the services that Apprise knows (mail, chat, push).

`X-Sisu-Signature: sha256=…` is the HMAC-SHA256 of a webhook's body with its secret. The headers of Standard
Webhooks (https://www.standardwebhooks.com) sign the time of the attempt too, so that a receiver can refuse old
messages.
"""

import asyncio
import logging
import re
import threading
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from resources.failure_classification import kind_of_http_status
from sisu_pipeline.domain.canonical import canonical_json, hmac_sha256_hex
from sisu_pipeline.domain.failure_kind import FailureKind
from sisu_pipeline.domain.notifications.notification_message import Message

WEBHOOK_TIMEOUT_S = 5.0
"""How long one attempt may take, from the connection to the end of the answer."""
_MAX_ERROR = 300
_HTTP_STATUS = re.compile(r"\berror=(\d{3})\b")


@dataclass(frozen=True)
class Refusal:
    """Why a message was not accepted, and whether another attempt may help. Names no address and no secret."""

    error: str
    kind: FailureKind


@dataclass(frozen=True)
class Webhook:
    """The URL that messages are posted to, and the key they are signed with."""

    url: str = field(repr=False)
    secret: str = field(repr=False)

    def send(self, message: Message) -> Refusal | None:
        """Post the document of a message; why it was not accepted."""
        return asyncio.run(self._send(message))

    async def _send(self, message: Message) -> Refusal | None:
        async with webhook_client() as client:
            return await self.post(client, message.id, message.document)

    async def post(self, client: httpx.AsyncClient, message_id: str, document: Mapping[str, Any]) -> Refusal | None:
        """Post one document. `httpx` bounds each read only, so the exchange is bounded here."""
        body = canonical_json(document).encode()
        signed = headers(self.secret, message_id, int(time.time()), body)
        try:
            request = client.post(self.url, content=body, headers=signed)
            answer = await asyncio.wait_for(request, WEBHOOK_TIMEOUT_S)
        except TimeoutError:
            return Refusal(f"no complete answer within {WEBHOOK_TIMEOUT_S:g} s", FailureKind.PASSING)
        except httpx.InvalidURL as failure:
            return Refusal(f"invalid address: {failure}"[:_MAX_ERROR], FailureKind.PERMANENT)
        except httpx.HTTPError as failure:
            return Refusal(f"{type(failure).__name__}: {failure}"[:_MAX_ERROR], FailureKind.PASSING)
        if answer.is_success:
            return None
        return Refusal(f"HTTP {answer.status_code}", kind_of_http_status(answer.status_code))


@dataclass(frozen=True)
class Service:
    """A service of Apprise by its URL, which usually holds a password or token."""

    url: str = field(repr=False)

    def is_known(self) -> bool:
        """Whether Apprise can send to this URL. Connects to nothing."""
        from apprise import Apprise

        return Apprise.instantiate(self.url) is not None

    def send(self, message: Message) -> Refusal | None:
        """Send the title and the text of a message; why it was not accepted."""
        from apprise import Apprise, NotifyFormat
        from apprise.plugins.email import NotifyEmail

        # A new instance per message: instances remember what they sent.
        service = Apprise.instantiate(self.url)
        if service is None:
            return Refusal("Apprise does not know this URL", FailureKind.PERMANENT)
        if isinstance(service, NotifyEmail):
            service.headers["X-Sisu-Event"] = message.id
        with _Warnings() as warnings:
            is_sent = service.notify(body=message.text, title=message.title, body_format=NotifyFormat.TEXT)
        return None if is_sent else warnings.refusal


Channel = Webhook | Service


def webhook_client() -> httpx.AsyncClient:
    """A client for `Webhook.post`, which bounds the time itself."""
    return httpx.AsyncClient(follow_redirects=False, timeout=None)  # noqa: S113


def signature(secret: str, body: bytes) -> str:
    """The value of `X-Sisu-Signature`."""
    return f"sha256={hmac_sha256_hex(secret, body)}"


def headers(secret: str, message_id: str, sent_at: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt at `sent_at`, in seconds since 1970."""
    signed = f"{message_id}.{sent_at}.".encode() + body
    return {
        "Content-Type": "application/json",
        "X-Sisu-Signature": signature(secret, body),
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(sent_at),
        "Webhook-Signature": f"v1,{b64encode(bytes.fromhex(hmac_sha256_hex(secret, signed))).decode()}",
    }


class _Warnings(logging.Handler):
    """What Apprise logs in this thread: its only account of why a message was not sent.

    Of the text only the HTTP status is used, because the rest may contain addresses and secrets. For the same
    reason nothing is passed on to other handlers.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self._texts: list[str] = []

    def __enter__(self) -> "_Warnings":
        logger = logging.getLogger("apprise")
        logger.propagate = False
        logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record of this thread."""
        if record.thread == self._thread:
            self._texts.append(record.getMessage())

    @property
    def refusal(self) -> Refusal:
        """Why the message was not sent."""
        found = [int(match) for text in self._texts for match in _HTTP_STATUS.findall(text)]
        if found and found[-1]:
            return Refusal(f"HTTP {found[-1]}", kind_of_http_status(found[-1]))
        return Refusal("no connection to the service, or it did not accept the message", FailureKind.PASSING)
