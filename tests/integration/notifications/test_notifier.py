"""The notifier delivers each event to a webhook, a mail server and a client of ntfy, whatever dies in between."""

import base64
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sisu_pipeline.queueing.notification_provider import open_receivers
from sisu_pipeline.settings import PROJECT_ROOT, Settings, child_environment, load_settings
from sisu_pipeline.store.queues import notification_outbox
from sisu_pipeline.store.queues.notification_outbox import ReceiverState
from sisu_pipeline.supervisor import stack_health
from sisu_pipeline.worker.notifier import Sender
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.integration.gate.world import Waiting
from tests.integration.notifications.receivers import SECRET, Place, Received, receivers, wait_until

Notifier = Callable[..., Any]
PROMPT_S = 2.0
"""How soon a message arrives after its gate has opened."""


@pytest.fixture
def place(free_port: Callable[[], int]) -> Iterator[Place]:
    """A webhook, a mail server and a server of ntfy on this machine."""
    with receivers(free_port()) as made:
        yield made


@pytest.fixture
def notifier(
    place: Place, dependencies: Dependencies, database_settings: Settings, tmp_path: Path
) -> Iterator[Notifier]:
    """A function that starts a notifier in a process of its own."""
    file = tmp_path / "receivers.json"
    file.write_text(place.document())
    started: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def start(**variables: str) -> Iterator[subprocess.Popen[bytes]]:
        environment = child_environment(
            DATABASE_URL=dependencies.database.url,
            SISU_HOME=str(database_settings.home),
            SISU_NOTIFICATIONS=str(file),
            **variables,
        )
        with (tmp_path / "log").open("ab") as log:
            command = [sys.executable, "-m", "sisu_pipeline.worker.notifier"]
            process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stdout=log, stderr=log)
        started.append(process)
        yield process
        end(process)

    yield start
    for process in started:
        end(process)
    log = (tmp_path / "log").read_text()
    assert SECRET not in log


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)


def is_listening(dependencies: Dependencies) -> bool:
    """Whether a notifier has stored its receivers and listens."""
    with dependencies.database.connect() as connection:
        rows = connection.execute(
            "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE locktype = 'advisory' AND application_name = 'sisu-notifier' AND query ~ 'receivers'"
        ).fetchall()
        return bool(rows) and len(notification_outbox.states(connection)) == 3


def unsettled(dependencies: Dependencies) -> int:
    with dependencies.database.connect() as connection:
        return sum(state.waiting + state.failed for state in notification_outbox.states(connection))


def test_a_gate_that_opens_reaches_a_webhook_a_mail_server_and_ntfy_within_two_seconds(
    place: Place, notifier: Notifier, dependencies: Dependencies
) -> None:
    with notifier():
        wait_until(lambda: is_listening(dependencies))
        run = Waiting(dependencies, goal="Make the tests pass\x1b[31m")
        (event,) = run.rows("notification_events")
        took = wait_until(lambda: place.counts == [{event["id"]: 1}] * 3)
        assert took < PROMPT_S
        wait_until(lambda: unsettled(dependencies) == 0)
    link = f"http://127.0.0.1:3001/#/runs/{run.run_id}"
    (body,), (headers,) = place.web.webhook.messages, place.web.webhook.headers
    sent = json.loads(body)
    assert (sent["type"], sent["id"], sent["data"]["link"]) == ("gate.opened", event["id"], link)
    assert sent["data"]["planSha256"] == event["facts"]["planSha256"]
    signed = f"{event['id']}.{headers['Webhook-Timestamp']}.{body}".encode()
    expected = base64.b64encode(hmac.digest(SECRET.encode(), signed, "sha256")).decode()
    assert headers["Webhook-Signature"] == f"v1,{expected}"
    (published,) = map(json.loads, place.web.ntfy.messages)
    assert published["title"].startswith("Approval needed: Make the tests pass")
    assert link in published["message"]
    assert r"\x1b[31m" in published["message"]
    assert place.mail.received.headers[0]["X-Sisu-Event"] == event["id"]


@pytest.mark.parametrize(
    ("point", "times"),
    [pytest.param("notification.send.before", 1, marks=pytest.mark.slow), ("notification.send.after", 2)],
)
def test_a_notifier_that_is_killed_during_an_attempt_repeats_it_with_the_same_id(
    place: Place, notifier: Notifier, dependencies: Dependencies, tmp_path: Path, point: str, times: int
) -> None:
    orders = tmp_path / "orders"
    orders.mkdir()
    (orders / point).touch()
    with notifier(SISU_CRASH_AT=str(orders)) as first:
        wait_until(lambda: is_listening(dependencies))
        Waiting(dependencies)
        wait_until(lambda: first.poll() is not None)
        assert first.returncode == -signal.SIGKILL
    with notifier(SISU_CRASH_AT=str(orders)):
        wait_until(lambda: all(len(counts) == 1 for counts in place.counts))
        wait_until(lambda: unsettled(dependencies) == 0)
    assert max(count for counts in place.counts for count in counts.values()) == times


@pytest.mark.slow
def test_a_notifier_that_is_killed_is_replaced_by_one_that_waits(
    place: Place, notifier: Notifier, dependencies: Dependencies
) -> None:
    with notifier() as first:
        wait_until(lambda: is_listening(dependencies))
        with notifier():
            Waiting(dependencies)
            wait_until(lambda: unsettled(dependencies) == 0 and all(place.counts))
            os.kill(first.pid, signal.SIGKILL)
            Waiting(dependencies)
            wait_until(lambda: all(len(counts) == 2 for counts in place.counts))
            wait_until(lambda: unsettled(dependencies) == 0)
    assert [set(counts.values()) for counts in place.counts] == [{1}] * 3


def test_an_event_arrives_once_when_every_connection_is_cut_during_its_attempts(
    place: Place, notifier: Notifier, dependencies: Dependencies
) -> None:
    place.web.released.clear()
    with notifier():
        wait_until(lambda: is_listening(dependencies))
        Waiting(dependencies)
        wait_until(lambda: place.web.requests == 1)
        with dependencies.database.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sisu-notifier'"
            )
        place.web.released.set()
        wait_until(lambda: unsettled(dependencies) == 0 and all(place.counts))
        wait_until(lambda: is_listening(dependencies))
        Waiting(dependencies)
        wait_until(lambda: all(len(counts) == 2 for counts in place.counts))
    assert [set(counts.values()) for counts in place.counts] == [{1}] * 3


@pytest.fixture
def sender(place: Place, dependencies: Dependencies, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A function that starts a sender in a thread of this process."""
    file = tmp_path / "receivers.json"
    file.write_text(place.document())
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def start(abandon_s: float = 60.0) -> None:
        opened = open_receivers(load_settings({"SISU_NOTIFICATIONS": str(file)}))
        made = Sender(dependencies.database, opened, "http://127.0.0.1:3001", abandon_s)
        threads.append(threading.Thread(target=made.run, args=(stop,)))
        threads[-1].start()
        with dependencies.database.connect() as connection:
            wait_until(lambda: len(notification_outbox.states(connection)) == 3)

    yield start
    stop.set()
    place.web.released.set()
    for thread in threads:
        thread.join()


def test_a_receiver_that_does_not_answer_delays_no_other(
    place: Place, sender: Callable[..., None], dependencies: Dependencies
) -> None:
    place.web.released.clear()
    sender()
    for number in range(1, 4):
        Waiting(dependencies)
        quick: list[Received] = [place.web.ntfy, place.mail.received]
        took = wait_until(lambda: all(len(each.events) == number for each in quick))  # noqa: B023
        assert took < PROMPT_S
    assert place.web.webhook.events == []


def test_an_attempt_that_takes_too_long_is_abandoned_and_repeated(
    place: Place, sender: Callable[..., None], dependencies: Dependencies
) -> None:
    place.web.released.clear()
    sender(abandon_s=0.2)
    Waiting(dependencies)
    wait_until(lambda: place.web.requests == 1)
    wait_until(lambda: hook(dependencies).trouble == "no answer within 0.2 s")
    place.web.released.set()
    make_due(dependencies)
    wait_until(lambda: unsettled(dependencies) == 0)


def test_refusals_are_final_and_failures_are_repeated(
    place: Place, sender: Callable[..., None], dependencies: Dependencies
) -> None:
    place.web.answers = [400, 500]
    sender()
    Waiting(dependencies)
    wait_until(lambda: hook(dependencies).failed == 1)
    assert hook(dependencies).trouble == "HTTP 400: the message was refused and is not sent again"
    Waiting(dependencies)
    wait_until(lambda: hook(dependencies).trouble == "HTTP 500")
    assert (hook(dependencies).waiting, hook(dependencies).failed) == (1, 1)
    make_due(dependencies)
    wait_until(lambda: len(place.web.webhook.events) == 1)
    wait_until(lambda: hook(dependencies).trouble is None)


def test_a_receiver_that_fails_twelve_times_is_given_up(
    place: Place, sender: Callable[..., None], dependencies: Dependencies
) -> None:
    place.web.answers = [500] * 12
    sender()
    Waiting(dependencies)
    for attempt in range(1, 12):
        wait_until(lambda: waits_after(dependencies, attempt))  # noqa: B023
        make_due(dependencies)
    wait_until(lambda: hook(dependencies).trouble == "gave up after 12 attempts: HTTP 500")
    assert place.web.requests == 12


@pytest.mark.slow
def test_the_doctor_names_a_receiver_in_trouble_and_the_list_its_failures(
    place: Place, sender: Callable[..., None], dependencies: Dependencies, tmp_path: Path
) -> None:
    with dependencies.database.connect() as connection:
        assert "no process sends them" in stack_health.receivers(connection).detail
        sender()
        wait_until(lambda: stack_health.receivers(connection).ok)
        place.web.answers = [400, 403]
        Waiting(dependencies)
        wait_until(lambda: not stack_health.receivers(connection).ok)
        assert stack_health.receivers(connection).detail.startswith("hook: HTTP 400")
    (failed,) = (each for each in sisu(dependencies, tmp_path, "list") if each["failed"])
    assert (failed["name"], failed["last_state"]) == ("hook", "refused")
    assert sisu(dependencies, tmp_path, "test", status=1) == {"hook": "HTTP 403", "phone": None, "mail": None}
    assert sisu(dependencies, tmp_path, "test", "unknown", status=1)["code"] == "notifications"
    assert "gets messages about runs like this one" in place.web.ntfy.messages[-1]


def sisu(dependencies: Dependencies, folder: Path, *arguments: str, status: int = 0) -> Any:
    """Run a command of `sisu notification`; returns the JSON that it prints."""
    file = str(folder / "receivers.json")
    environment = child_environment(DATABASE_URL=dependencies.database.url, SISU_NOTIFICATIONS=file)
    command = [sys.executable, "-m", "sisu_pipeline.cli", "notification", *arguments, "--json"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    return json.loads(done.stdout)


def hook(dependencies: Dependencies) -> ReceiverState:
    """The state of the webhook."""
    with dependencies.database.connect() as connection:
        return next(state for state in notification_outbox.states(connection) if state.name == "hook")


def waits_after(dependencies: Dependencies, attempts: int) -> bool:
    """Whether so many attempts at the webhook have failed, and the next one is not due yet."""
    found = (
        "SELECT FROM app.notification_deliveries WHERE receiver = 'hook' AND state = 'waiting' AND attempts = %s"
    )
    with dependencies.database.connect() as connection:
        return connection.execute(found, [attempts]).fetchone() is not None


def make_due(dependencies: Dependencies) -> None:
    """Make the deliveries that wait for their next attempt due, and wake the sender."""
    with dependencies.database.connect() as connection:
        connection.execute("UPDATE app.notification_deliveries SET next_attempt_at = now() WHERE state = 'waiting'")
        connection.execute("SELECT pg_notify('sisu_notifications', '')")
