"""The notifier (`python -m sisu_pipeline.worker.notifier`): sends notifications to their receivers, with retries.

One process per database sends, the one that holds an advisory lock; others wait to take over. Every receiver has
threads of its own, so a slow one delays no other. A message is delivered at least once: an attempt whose process
dies is repeated, with the same event id, until the receiver accepts or refuses the message or twelve attempts have
failed.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from resources.database import Connection, Database, DatabaseError
from resources.failure_classification import is_database_away
from resources.message_channels import Refusal
from resources.notifications import Listener
from resources.repeated_errors import RepeatedErrors
from resources.retry import TEN_MINUTES, retry_passing
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.database_server import locate
from sisu_pipeline.domain.failure_kind import FailureKind
from sisu_pipeline.domain.notifications.notification_message import message_of
from sisu_pipeline.queueing.notification_provider import OpenReceiver, open_receivers
from sisu_pipeline.settings import name_connections, settings
from sisu_pipeline.store.queues import notification_outbox
from sisu_pipeline.store.queues.notification_outbox import DeliveryState, DueDelivery

CHECK_INTERVAL_S = 1.0
"""How often reminders and repeated attempts are looked for; new events are notified."""
ABANDON_S = 60.0
"""How long an attempt may take. Its thread cannot be ended, so it is left alone, and its outcome is ignored."""
THREADS_PER_RECEIVER = 4
_MOST_ABANDONED = 4

logger = logging.getLogger(__name__)


@dataclass
class _Thread:
    """A thread that sends to one receiver, and the attempt that it makes."""

    thread: threading.Thread | None = None
    delivery: DueDelivery | None = None
    started: float = 0.0
    is_abandoned: bool = False

    @property
    def is_alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()


class Sender:
    """Sends what is due. Its methods belong to one thread; messages leave in threads of their receivers."""

    def __init__(
        self, database: Database, receivers: Sequence[OpenReceiver], api_url: str, abandon_s: float = ABANDON_S
    ) -> None:
        self._database = database
        self._receivers = {receiver.name: receiver for receiver in receivers}
        self._api_url = api_url
        self._abandon_s = abandon_s
        self._threads: dict[str, list[_Thread]] = {name: [] for name in self._receivers}
        self._taking = threading.Lock()
        self._errors = RepeatedErrors(logger.warning, "sending notifications")

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set. A lost database is tolerated, and the lead is taken again when it is back."""
        while not stop.is_set():
            lost = self._errors.tolerated(psycopg.Error, DatabaseError)
            with lost, self._database.connect(autocommit=True) as session:
                self._lead(session, stop)
            stop.wait(CHECK_INTERVAL_S)

    def _lead(self, session: Connection, stop: threading.Event) -> None:
        """Wait for the lead, take over what another process left, and send for as long as the session lives."""
        while not notification_outbox.lead(session):
            if stop.wait(CHECK_INTERVAL_S):
                return
        listener = Listener(session, notification_outbox.CHANNEL)
        with session.transaction():
            notification_outbox.replace_receivers(session, [each.receiver for each in self._receivers.values()])
        logger.info("sending notifications to %s", ", ".join(self._receivers) or "no receiver")
        while not stop.is_set():
            notification_outbox.remind(session)
            self._abandon_stuck(session)
            self._release(session)
            for name in notification_outbox.due_receivers(session):
                self._start(name)
            listener.wait(CHECK_INTERVAL_S)

    def _start(self, name: str) -> None:
        """Start one more thread for a receiver, unless enough are sending."""
        threads = [each for each in self._threads.get(name, []) if each.is_alive]
        self._threads[name] = threads
        abandoned = sum(each.is_abandoned for each in threads)
        if name not in self._receivers or abandoned > _MOST_ABANDONED:
            return
        if len(threads) - abandoned >= THREADS_PER_RECEIVER:
            return
        state = _Thread()
        # A daemon, so that a receiver that never answers does not delay the end of the process.
        state.thread = threading.Thread(target=self._send_due, args=(name, state), daemon=True, name=f"to {name}")
        threads.append(state)
        state.thread.start()

    def _send_due(self, name: str, state: _Thread) -> None:
        """Make the attempts that are due, one after another."""
        try:
            while not state.is_abandoned:
                with self._taking, self._database.connect() as connection:
                    delivery = notification_outbox.take(connection, name)
                    state.started, state.delivery = time.monotonic(), delivery
                if delivery is None:
                    return
                self._attempt(delivery, state)
        except Exception as failure:
            if not is_database_away(failure):
                logger.exception("sending to %s failed for a reason that is not expected", name)
        finally:
            state.delivery = None

    def _attempt(self, delivery: DueDelivery, state: _Thread) -> None:
        crash_point("notification.send.before")
        try:
            refusal = self._receivers[delivery.receiver].channel.send(message_of(delivery, self._api_url))
        except Exception as failure:
            # A service of Apprise may raise anything. The text may contain secrets, the type does not.
            refusal = Refusal(f"{type(failure).__name__} while sending", FailureKind.PASSING)
        crash_point("notification.send.after")
        if not state.is_abandoned:
            # The receiver has the message: recording it is repeated, not the message.
            retry_passing(lambda: self._record(delivery, refusal), TEN_MINUTES)

    def _record(self, delivery: DueDelivery, refusal: Refusal | None) -> None:
        with self._database.connect() as connection:
            record(connection, delivery, refusal)

    def _abandon_stuck(self, session: Connection) -> None:
        """Record attempts that take too long as failed; their threads end when they can."""
        now = time.monotonic()
        for state in [each for threads in self._threads.values() for each in threads if not each.is_abandoned]:
            delivery = state.delivery
            if delivery is not None and now - state.started > self._abandon_s:
                state.is_abandoned = True
                record(session, delivery, Refusal(f"no answer within {self._abandon_s:g} s", FailureKind.PASSING))

    def _release(self, session: Connection) -> None:
        """Make attempts due again that no thread makes: their process has ended, or lost the database."""
        with self._taking:
            states = [each for threads in self._threads.values() for each in threads if each.is_alive]
            own = [each.delivery.key for each in states if each.delivery is not None and not each.is_abandoned]
            notification_outbox.release(session, own)


def record(connection: Connection, delivery: DueDelivery, refusal: Refusal | None) -> None:
    """Record the outcome of an attempt."""
    if refusal is None:
        notification_outbox.finish(connection, delivery, DeliveryState.DELIVERED)
        return
    if refusal.kind is FailureKind.PERMANENT:
        state, error = DeliveryState.REFUSED, f"{refusal.error}: the message was refused and is not sent again"
    elif delivery.is_last_attempt:
        attempts = notification_outbox.MOST_ATTEMPTS
        state, error = DeliveryState.GAVE_UP, f"gave up after {attempts} attempts: {refusal.error}"
    else:
        notification_outbox.postpone(connection, delivery, refusal.error)
        return
    notification_outbox.finish(connection, delivery, state, error)
    logger.warning("event %s to receiver %s: %s", delivery.id, delivery.receiver, error)


def main() -> None:
    """Send notifications until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # httpx logs each request with its address, which may contain a token.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    configuration = settings()
    name_connections("sisu-notifier")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Sender(locate(configuration), open_receivers(configuration), configuration.api_url).run(stop)
    # Without waiting for threads: an attempt that is interrupted is repeated.
    os._exit(0)


if __name__ == "__main__":
    main()
