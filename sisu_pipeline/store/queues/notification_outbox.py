"""The outbox of notifications: triggers write events and one delivery per receiver, the notifier sends them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from resources.database import Connection
from sisu_pipeline.contracts.configuration.notification_receivers import Receiver
from sisu_pipeline.domain.notifications.notification_message import Event
from sisu_pipeline.store.records import execute, fetch_all, fetch_column, fetch_first, fetch_value

CHANNEL = "sisu_notifications"
"""What Postgres notifies listeners on when a delivery becomes due."""
MOST_ATTEMPTS = 12
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 3600.0
_REMINDERS = 100


class DeliveryState(StrEnum):
    """The state of a delivery."""

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    REFUSED = "refused"
    GAVE_UP = "gave_up"
    DROPPED = "dropped"


@dataclass(frozen=True)
class DueDelivery(Event):
    """An event for a receiver whose next attempt, the one with the number `attempts`, has started."""

    receiver: str
    attempts: int

    @property
    def key(self) -> str:
        """What identifies the delivery among those of a process."""
        return f"{self.id} {self.receiver}"

    @property
    def is_last_attempt(self) -> bool:
        """True when a failure of this attempt ends the delivery."""
        return self.attempts >= MOST_ATTEMPTS

    @property
    def pause_s(self) -> float:
        """How long to wait after a failure of this attempt."""
        return min(_FIRST_PAUSE_S * 2.0 ** (self.attempts - 1), _LONGEST_PAUSE_S)

    def columns(self) -> dict[str, object]:
        """The attempt as statements name it."""
        return {"event_id": self.id, "receiver": self.receiver, "attempts": self.attempts}


@dataclass(frozen=True)
class ReceiverState:
    """A receiver with its deliveries; `failed` were refused or given up."""

    name: str
    events: list[str]
    waiting: int
    failed: int
    waiting_error: str | None
    last_state: DeliveryState | None
    last_ended_at: datetime | None
    last_error: str | None

    @property
    def trouble(self) -> str | None:
        """Why the receiver does not get its messages at the moment; None when it does."""
        if self.waiting_error is not None:
            return self.waiting_error
        return self.last_error if self.last_state in (DeliveryState.REFUSED, DeliveryState.GAVE_UP) else None


def lead(session: Connection) -> bool:
    """Become the one process that sends, until the session ends; returns False while another one does."""
    return bool(fetch_value(session, "notifications.lead"))


def is_led(connection: Connection) -> bool:
    """Whether a process sends."""
    return bool(fetch_value(connection, "notifications.is_led"))


def replace_receivers(connection: Connection, receivers: Sequence[Receiver]) -> None:
    """Store which receiver gets which events from now on, and end the deliveries to those that are gone."""
    for receiver in receivers:
        addresses = {"url", "url_file", "webhook", "secret", "secret_file"}
        columns = receiver.model_dump(exclude=addresses, by_alias=False)
        execute(connection, "notifications.remember_receiver", {**columns, "events": [*map(str, receiver.events)]})
    execute(connection, "notifications.remove_receivers", {"names": [receiver.name for receiver in receivers]})
    execute(connection, "notifications.drop_deliveries")


def release(connection: Connection, own: Collection[str]) -> int:
    """Make deliveries due again that a process which has ended was sending; `own` are this process's, by key."""
    return execute(connection, "notifications.release", {"most_attempts": MOST_ATTEMPTS, "own": [*own]})


def remind(connection: Connection) -> None:
    """Add reminders of gates whose deadlines are near, once each; the rest of a long batch follows later."""
    execute(connection, "notifications.remind", {"limit": _REMINDERS})


def due_receivers(connection: Connection) -> list[str]:
    """The names of the receivers to which a delivery is due."""
    return fetch_column(connection, "notifications.due_receivers")


def take(connection: Connection, receiver: str) -> DueDelivery | None:
    """Start an attempt of the next delivery to a receiver; None when none is due."""
    return fetch_first(connection, "notifications.take", DueDelivery, {"receiver": receiver})


def finish(connection: Connection, delivery: DueDelivery, state: DeliveryState, error: str | None = None) -> None:
    """Record how a delivery ended."""
    execute(connection, "notifications.finish", {**delivery.columns(), "state": state, "error": error})


def postpone(connection: Connection, delivery: DueDelivery, error: str) -> None:
    """Record why an attempt failed; the next one follows after a pause."""
    columns = {**delivery.columns(), "error": error, "wait_s": delivery.pause_s}
    execute(connection, "notifications.postpone", columns)


def states(connection: Connection) -> list[ReceiverState]:
    """The receivers with the state of their deliveries."""
    return fetch_all(connection, "notifications.receivers", ReceiverState)
