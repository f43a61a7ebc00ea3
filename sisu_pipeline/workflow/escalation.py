"""Enforcement of deadlines, and delivery of escalations to a webhook: at least once, signed, with retries.

`X-Sisu-Signature: sha256=…` is the HMAC-SHA256 of the body with the key `SISU_ESCALATION_SECRET`. The body's `id`
is the same in every attempt, so that a receiver can drop repeated deliveries. The headers of Standard Webhooks
(https://www.standardwebhooks.com) sign the time of the attempt too, so that a receiver can refuse old messages.
"""

import asyncio
import math
import time
from base64 import b64encode
from dataclasses import dataclass

import httpx

from resources.database import Database
from sisu_pipeline.domain.canonical import canonical_json, hmac_sha256_hex
from sisu_pipeline.store import deadlines
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.run_failure import ending_permanently

MAX_ATTEMPTS = 12
_FIRST_WAIT_S = 5.0
_MAX_WAIT_S = 3600.0
_TIMEOUT_S = 5.0
"""How long one attempt may take, from the connection to the end of the answer."""
_BATCH = 100
_MAX_ERROR = 300


@dataclass(frozen=True)
class Webhook:
    """The URL that escalations are posted to, and the key they are signed with."""

    url: str
    secret: str


def enforce(dependencies: Dependencies) -> list[tuple[str, str]]:
    """Write the outcome of every overdue gate, each in its own transaction; returns (run id, gate key) pairs.

    A run whose outcome cannot be written is ended, and delays no other.
    """
    with dependencies.database.connect() as connection:
        due = deadlines.due(connection, _BATCH)
    enforced = []
    for gate in due:
        with ending_permanently(dependencies, gate.run_id, f"write the outcome of gate {gate.gate_key}"):
            with dependencies.database.connect() as connection:
                is_enforced = deadlines.enforce(connection, gate.run_id, gate.gate_key)
            if is_enforced:
                enforced.append((gate.run_id, gate.gate_key))
    return enforced


def deliver(database: Database, webhook: Webhook, for_s: float = math.inf) -> int:
    """Post escalations that are due, for at most `for_s` seconds; returns how many the webhook accepted."""
    accepted = 0
    until = time.monotonic() + for_s
    for _ in range(_BATCH):
        delivered = _deliver_one(database, webhook)
        if delivered is None:
            break
        accepted += delivered
        if time.monotonic() >= until:
            break
    return accepted


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


def _deliver_one(database: Database, webhook: Webhook) -> bool | None:
    """Post the next escalation with its row locked; returns whether it was accepted, None when none is due."""
    with database.connect() as connection:
        escalation = deadlines.take_escalation(connection, MAX_ATTEMPTS)
        if escalation is None:
            return None
        error = _post(webhook, str(escalation.payload["id"]), canonical_json(escalation.payload).encode())
        if error is None:
            deadlines.mark_delivered(connection, escalation)
        else:
            wait_s = min(_FIRST_WAIT_S * 2**escalation.attempts, _MAX_WAIT_S)
            deadlines.mark_failed(connection, escalation, error, wait_s)
        return error is None


def _post(webhook: Webhook, message_id: str, body: bytes) -> str | None:
    """Post one message; returns the error, or None when it was accepted."""
    signed = headers(webhook.secret, message_id, int(time.time()), body)
    try:
        answer = asyncio.run(asyncio.wait_for(_send(webhook.url, body, signed), _TIMEOUT_S))
    except TimeoutError:
        return f"no complete answer within {_TIMEOUT_S:g} s"
    except httpx.HTTPError as failure:
        return f"{type(failure).__name__}: {failure}"[:_MAX_ERROR]
    return None if answer.is_success else f"HTTP {answer.status_code}"


async def _send(url: str, body: bytes, signed: dict[str, str]) -> httpx.Response:
    """The receiver's answer. The caller bounds the whole exchange: `httpx` bounds each read only."""
    async with httpx.AsyncClient(follow_redirects=False, timeout=None) as client:  # noqa: S113
        return await client.post(url, content=body, headers=signed)
