"""Enforcement of deadlines, and delivery of escalations to a webhook: signed, with retries.

A message is delivered at least once, unless the receiver refuses it (HTTP 4xx, but for 408, 425 and 429) or does
not accept it in twelve attempts.

`X-Sisu-Signature: sha256=…` is the HMAC-SHA256 of the body with the key `SISU_ESCALATION_SECRET`. The body's `id`
is the same in every attempt, so that a receiver can drop repeated deliveries. The headers of Standard Webhooks
(https://www.standardwebhooks.com) sign the time of the attempt too, so that a receiver can refuse old messages.
"""

import asyncio
import logging
import math
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from resources.database import Connection, Database
from resources.failure_classification import kind_of_http_status
from sisu_pipeline.domain.canonical import canonical_json, hmac_sha256_hex
from sisu_pipeline.domain.failure_kind import FailureKind
from sisu_pipeline.store import deadlines
from sisu_pipeline.store.deadlines import Escalation
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.run_failure import ending_permanently

MAX_ATTEMPTS = 12
_FIRST_WAIT_S = 5.0
_MAX_WAIT_S = 3600.0
_TIMEOUT_S = 5.0
"""How long one attempt may take, from the connection to the end of the answer."""
_BATCH = 100
_AT_ONCE = 20
_MAX_ERROR = 300
_REMEDY = "check the receiver and SISU_ESCALATION_URL"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Webhook:
    """The URL that escalations are posted to, and the key they are signed with."""

    url: str
    secret: str


@dataclass(frozen=True)
class Refusal:
    """Why the webhook did not accept a message, and whether another attempt may help."""

    error: str
    kind: FailureKind


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
    for _ in range(_BATCH // _AT_ONCE):
        delivered = _deliver_together(database, webhook)
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


def _deliver_together(database: Database, webhook: Webhook) -> int | None:
    """Post the next escalations with their rows locked, all at once, so that a slow answer delays no other message.

    Returns how many were accepted; None when none is due.
    """
    with database.connect() as connection:
        taken = deadlines.take_escalations(connection, MAX_ATTEMPTS, _AT_ONCE)
        if not taken:
            return None
        refusals = asyncio.run(_post_all(webhook, [escalation.payload for escalation in taken]))
        for escalation, refusal in zip(taken, refusals, strict=True):
            _record(connection, escalation, refusal)
        return refusals.count(None)


def _record(connection: Connection, escalation: Escalation, refusal: Refusal | None) -> None:
    if refusal is None:
        deadlines.mark_delivered(connection, escalation)
        return
    if refusal.kind is FailureKind.PERMANENT:
        error = f"{refusal.error}: the message was refused and is not sent again; {_REMEDY}"
    elif escalation.attempts + 1 >= MAX_ATTEMPTS:
        error = f"gave up after {MAX_ATTEMPTS} attempts: {refusal.error}; {_REMEDY}"
    else:
        wait_s = min(_FIRST_WAIT_S * 2**escalation.attempts, _MAX_WAIT_S)
        deadlines.mark_failed(connection, escalation, refusal.error, wait_s)
        return
    deadlines.give_up(connection, escalation, error)
    logger.warning("message %s to the webhook: %s", escalation.payload["id"], error)


async def _post_all(webhook: Webhook, messages: Sequence[Mapping[str, Any]]) -> list[Refusal | None]:
    """Post the messages at the same time; why each was not accepted."""
    async with httpx.AsyncClient(follow_redirects=False, timeout=None) as client:  # noqa: S113
        return await asyncio.gather(*(_post(client, webhook, message) for message in messages))


async def _post(client: httpx.AsyncClient, webhook: Webhook, message: Mapping[str, Any]) -> Refusal | None:
    """Post one message; why it was not accepted. `httpx` bounds each read only, so the exchange is bounded here."""
    body = canonical_json(message).encode()
    signed = headers(webhook.secret, str(message["id"]), int(time.time()), body)
    try:
        request = client.post(webhook.url, content=body, headers=signed)
        answer = await asyncio.wait_for(request, _TIMEOUT_S)
    except TimeoutError:
        return Refusal(f"no complete answer within {_TIMEOUT_S:g} s", FailureKind.PASSING)
    except httpx.InvalidURL as failure:
        return Refusal(f"invalid address: {failure}"[:_MAX_ERROR], FailureKind.PERMANENT)
    except httpx.HTTPError as failure:
        return Refusal(f"{type(failure).__name__}: {failure}"[:_MAX_ERROR], FailureKind.PASSING)
    if answer.is_success:
        return None
    return Refusal(f"HTTP {answer.status_code}", kind_of_http_status(answer.status_code))
