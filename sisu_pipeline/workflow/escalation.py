"""Enforcement of deadlines, and delivery of escalations to a webhook: signed, with retries.

A message is delivered at least once, unless the receiver refuses it (HTTP 4xx, but for 408, 425 and 429) or does
not accept it in twelve attempts.

Messages are signed with the key `SISU_ESCALATION_SECRET` (`resources/message_channels.py`). The body's `id` is the
same in every attempt, so that a receiver can drop repeated deliveries.
"""

import asyncio
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from resources.database import Connection, Database
from resources.message_channels import Refusal, Webhook, webhook_client
from sisu_pipeline.domain.failure_kind import FailureKind
from sisu_pipeline.store import deadlines
from sisu_pipeline.store.deadlines import Escalation
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.run_failure import ending_permanently

MAX_ATTEMPTS = 12
_FIRST_WAIT_S = 5.0
_MAX_WAIT_S = 3600.0
_BATCH = 100
_AT_ONCE = 20
_REMEDY = "check the receiver and SISU_ESCALATION_URL"

logger = logging.getLogger(__name__)


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
    async with webhook_client() as client:
        return await asyncio.gather(*(webhook.post(client, str(message["id"]), message) for message in messages))
