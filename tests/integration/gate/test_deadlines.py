"""The deadline of a gate writes the declared outcome exactly once, whatever was down when it passed."""

import base64
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from resources import message_channels
from resources.message_channels import Webhook
from sisu_pipeline.domain.setting_errors import SettingsError
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.settings import load_settings
from sisu_pipeline.store import deadlines
from sisu_pipeline.supervisor import stack_health
from sisu_pipeline.workflow import escalation, run_timeouts
from tests.integration.api.conftest import Api
from tests.integration.gate.conftest import Recipe
from tests.integration.gate.world import Waiting
from tests.integration.life import FILES

Contents = Callable[[], dict[str, str]]


def approve(api: Api, run: Waiting) -> httpx.Response:
    return api.post(f"/runs/{run.run_id}/approve-plan", {"approvedBy": "ann"})


def reject(api: Api, run: Waiting) -> httpx.Response:
    return api.post(f"/runs/{run.run_id}/reject-plan", {"rejectedBy": "ann", "reason": "no"})


@pytest.mark.parametrize(
    ("constraints", "seconds"),
    [
        ({}, 3600),
        ({"planApprovalTimeoutS": 60}, 60),
        ({"plan_approval_timeout_s": 2_592_000}, 2_592_000),
        ({"testHooks": {"timeoutS": 7}}, 7),
    ],
)
def test_the_deadline_is_the_intents_or_the_deployments(
    api: Api, constraints: dict[str, Any], seconds: int
) -> None:
    run = Waiting(api.dependencies, constraints=constraints)
    (gate,) = run.rows("human_gates")
    drift = gate["deadline_at"] - gate["created_at"] - timedelta(seconds=seconds)
    assert abs(drift) < timedelta(seconds=1)
    shown = api.get(f"/runs/{run.run_id}").json()["gate"]
    assert shown["deadlineAt"] > shown["openedAt"]
    assert shown["onTimeout"] == "reject"


@pytest.mark.parametrize(
    ("constraints", "pointer"),
    [
        ({"planApprovalTimeoutS": 2_592_001}, "/constraints/planApprovalTimeoutS"),
        ({"planApprovalTimeoutS": 0}, "/constraints/planApprovalTimeoutS"),
        ({"planApprovalTimeoutS": True}, "/constraints/planApprovalTimeoutS"),
        ({"planApprovalTimeoutS": "60"}, "/constraints/planApprovalTimeoutS"),
        ({"timeoutS": 1.5}, "/constraints/timeoutS"),
        ({"testHooks": {"timeoutS": -1}}, "/constraints/testHooks/timeoutS"),
        ({"planApprovalOnTimeout": "maybe"}, "/constraints/planApprovalOnTimeout"),
        ({"planApprovalOnTimeout": []}, "/constraints/planApprovalOnTimeout"),
    ],
)
def test_a_deadline_out_of_bounds_is_refused_when_the_intent_is_submitted(
    api: Api, contents: Contents, constraints: dict[str, Any], pointer: str
) -> None:
    before = contents()
    answer = api.post("/intents", {"goal": "g", "inputs": {}, "constraints": constraints})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_constraint")
    assert answer.json()["details"][0]["pointer"] == pointer
    assert contents() == before


def test_times_are_utc_whatever_the_time_zone_of_the_database_is(api: Api) -> None:
    run = Waiting(api.dependencies)
    run.overdue()
    shown = api.get(f"/runs/{run.run_id}").json()["gate"]["deadlineAt"]
    with api.dependencies.database.connect() as connection:
        connection.execute("SET LOCAL timezone TO 'America/New_York'")
        assert deadlines.enforce(connection, run.run_id, run.gate)
    (message,) = run.rows("escalations")
    assert message["payload"]["deadlineAt"] == shown
    (interaction,) = api.get(f"/runs/{run.run_id}/interactions").json()["interactions"]
    assert interaction["payload"]["deadlineAt"] == shown
    assert shown.endswith("Z")


def test_a_passed_deadline_rejects_the_plan_and_restores_every_byte(api: Api) -> None:
    run = Waiting(api.dependencies)
    assert run.files() != FILES
    run.overdue()
    assert escalation.enforce(api.dependencies) == [(run.run_id, run.gate)]
    assert run.segment().status is RunStatus.RETRIES_EXCEEDED
    assert "rationale: timeout" in (run.run.error or "")
    assert run.files() == FILES
    (gate,) = api.get(f"/runs/{run.run_id}/gates").json()["gates"]
    assert (gate["state"], gate["decidedBy"]) == ("timed_out", deadlines.ACTOR)


def test_a_gate_with_the_outcome_approve_is_approved_at_its_deadline(api: Api, recipe: Recipe) -> None:
    recipe(deadlineMayApprove=True)
    run = Waiting(api.dependencies, constraints={"planApprovalOnTimeout": "approve"})
    run.overdue()
    escalation.enforce(api.dependencies)
    assert run.segment().status is RunStatus.SUCCEEDED


def test_a_deadline_is_enforced_once_by_any_number_of_concurrent_sensors(api: Api) -> None:
    run = Waiting(api.dependencies)
    run.overdue()
    with ThreadPoolExecutor(6) as threads:
        enforced = list(threads.map(lambda _: escalation.enforce(api.dependencies), range(6)))
    assert sum(map(len, enforced)) == 1
    assert escalation.enforce(api.dependencies) == []
    for table in ("plan_approvals", "escalations", "human_interactions"):
        assert len(run.rows(table)) == 1


@pytest.mark.parametrize("outcome", ["reject", "approve"])
@pytest.mark.parametrize("sensor_first", [True, False])
def test_a_decision_after_the_deadline_gets_the_declared_outcome_with_and_without_the_sensor(
    api: Api, recipe: Recipe, outcome: str, sensor_first: bool
) -> None:
    recipe(deadlineMayApprove=True)
    run = Waiting(api.dependencies, constraints={"planApprovalOnTimeout": outcome})
    run.overdue()
    if sensor_first:
        escalation.enforce(api.dependencies)
    assert approve(api, run).status_code == (202 if outcome == "approve" else 409)
    assert reject(api, run).status_code == (202 if outcome == "reject" else 409)
    escalation.enforce(api.dependencies)
    (decided,) = run.rows("plan_approvals")
    assert (decided["decided_by"], decided["notes"]) == (deadlines.ACTOR, "timeout")


def test_a_decision_before_the_deadline_stays_final_after_it(api: Api) -> None:
    run = Waiting(api.dependencies)
    assert approve(api, run).status_code == 202
    run.overdue()
    assert escalation.enforce(api.dependencies) == []
    assert run.segment().status is RunStatus.SUCCEEDED


def test_a_run_that_has_ended_has_no_deadline(api: Api) -> None:
    run = Waiting(api.dependencies)
    run.overdue()
    assert api.post(f"/runs/{run.run_id}/cancel", {}).status_code == 202
    assert escalation.enforce(api.dependencies) == []
    assert run.rows("plan_approvals") == []


class Receiver:
    """A webhook: what it was sent, and what it answers next (then 204)."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, Any], bytes, str]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[int] = []
        self.barrier = threading.Barrier(1)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.received.append((json.loads(body), body, self.headers["x-sisu-signature"]))
                receiver.headers.append(dict(self.headers))
                receiver.barrier.wait()
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.webhook = Webhook(f"http://127.0.0.1:{self.server.server_port}/hook", "s3cret")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook on this machine."""
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def overdue_run(api: Api) -> Waiting:
    run = Waiting(api.dependencies)
    run.overdue()
    escalation.enforce(api.dependencies)
    return run


def test_the_webhook_gets_one_signed_message(api: Api, receiver: Receiver) -> None:
    run = overdue_run(api)
    assert escalation.deliver(api.dependencies.database, receiver.webhook) == 1
    assert escalation.deliver(api.dependencies.database, receiver.webhook) == 0
    ((message, body, signature),) = receiver.received
    assert signature == message_channels.signature("s3cret", body)
    assert signature != message_channels.signature("another", body)
    assert (message["event"], message["runId"], message["outcome"]) == ("TIMEOUT_ESCALATION", run.run_id, "reject")
    assert message["id"] == f"esc:{run.id}:{run.gate}"


def test_the_signature_of_a_message_covers_its_id_and_the_time_of_its_attempt(api: Api, receiver: Receiver) -> None:
    overdue_run(api)
    before = int(time.time())
    assert escalation.deliver(api.dependencies.database, receiver.webhook) == 1
    ((message, body, _),), (headers,) = receiver.received, receiver.headers
    sent_at = headers["Webhook-Timestamp"]
    assert before <= int(sent_at) <= int(time.time())
    assert headers["Webhook-Id"] == message["id"]
    content = f"{message['id']}.{sent_at}.".encode() + body
    expected = base64.b64encode(hmac.digest(b"s3cret", content, "sha256")).decode()
    assert headers["Webhook-Signature"] == f"v1,{expected}"
    replayed = message_channels.headers("s3cret", message["id"], int(sent_at) + 600, body)
    assert replayed["Webhook-Signature"] != headers["Webhook-Signature"]


def test_a_message_that_the_webhook_refused_is_retried_with_the_same_id(api: Api, receiver: Receiver) -> None:
    run = overdue_run(api)
    receiver.answers = [500, 302]
    for attempt in (1, 2):
        assert escalation.deliver(api.dependencies.database, receiver.webhook) == 0
        (row,) = run.rows("escalations")
        assert (row["attempts"], row["delivered_at"]) == (attempt, None)
        assert row["last_error"].startswith("HTTP ")
        # Not before its time.
        assert escalation.deliver(api.dependencies.database, receiver.webhook) == 0
        assert len(receiver.received) == attempt
        _due(api)
    assert escalation.deliver(api.dependencies.database, receiver.webhook) == 1
    assert len({message["id"] for message, _, _ in receiver.received}) == 1
    assert run.rows("escalations")[0]["last_error"] is None


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422])
def test_a_message_that_the_receiver_refuses_for_good_is_sent_once(
    api: Api, receiver: Receiver, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    run = overdue_run(api)
    receiver.answers = [status]
    for _ in range(2):
        assert escalation.deliver(api.dependencies.database, receiver.webhook) == 0
        _due(api)
    assert len(receiver.received) == 1
    (row,) = run.rows("escalations")
    assert row["delivered_at"] is None and row["gave_up_at"] is not None
    assert row["last_error"] == (
        f"HTTP {status}: the message was refused and is not sent again; check the receiver and SISU_ESCALATION_URL"
    )
    assert row["last_error"] in caplog.text
    with api.dependencies.database.connect() as connection:
        check = stack_health.webhook(connection)
        assert (check.ok, check.detail) == (False, row["last_error"])
    overdue_run(api)
    assert escalation.deliver(api.dependencies.database, receiver.webhook) == 1
    with api.dependencies.database.connect() as connection:
        assert stack_health.webhook(connection).ok


@pytest.mark.parametrize("status", [408, 425, 429, 503])
def test_a_message_that_comes_too_early_is_sent_again(api: Api, receiver: Receiver, status: int) -> None:
    run = overdue_run(api)
    receiver.answers = [status]
    assert escalation.deliver(api.dependencies.database, receiver.webhook) == 0
    _due(api)
    assert escalation.deliver(api.dependencies.database, receiver.webhook) == 1
    assert run.rows("escalations")[0]["gave_up_at"] is None


def test_a_slow_answer_delays_no_other_message(api: Api, receiver: Receiver) -> None:
    runs = [overdue_run(api) for _ in range(3)]
    # No answer before all of them have arrived.
    receiver.barrier = threading.Barrier(len(runs), timeout=4)
    assert escalation.deliver(api.dependencies.database, receiver.webhook) == len(runs)


def test_a_message_is_sent_twelve_times_at_most(api: Api, free_port: Callable[[], int]) -> None:
    run = overdue_run(api)
    nobody = Webhook(f"http://127.0.0.1:{free_port()}/", "s")
    for _ in range(escalation.MAX_ATTEMPTS + 2):
        assert escalation.deliver(api.dependencies.database, nobody) == 0
        _due(api)
    (row,) = run.rows("escalations")
    assert row["attempts"] == escalation.MAX_ATTEMPTS
    assert row["last_error"].startswith("gave up after 12 attempts: ") and row["gave_up_at"] is not None
    assert "ConnectError" in row["last_error"]


def test_an_answer_that_never_ends_fails_the_attempt_in_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_channels, "WEBHOOK_TIMEOUT_S", 0.5)
    run = overdue_run(api)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not stop.wait(0.05):
                    connection.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        webhook = Webhook(f"http://127.0.0.1:{server.getsockname()[1]}/", "s")
        assert escalation.deliver(api.dependencies.database, webhook) == 0
        stop.set()
        thread.join()
    (row,) = run.rows("escalations")
    assert row["last_error"] == "no complete answer within 0.5 s"


def test_a_run_is_canceled_when_its_time_limit_has_passed(api: Api) -> None:
    run = Waiting(api.dependencies, request={"timeoutMS": 2000})
    assert run_timeouts.enforce(api.dependencies) == []
    run.started_earlier("2 seconds")
    assert run_timeouts.enforce(api.dependencies) == [run.run_id]
    assert run_timeouts.enforce(api.dependencies) == []
    shown = api.get(f"/runs/{run.run_id}").json()
    assert shown["status"] == "canceled"
    assert shown["error"] == "canceled by sisu:deadline: it did not end within its timeoutMS of 2000 ms"
    assert approve(api, run).status_code == 409


def test_the_largest_time_limit_never_passes(api: Api) -> None:
    run = Waiting(api.dependencies, request={"timeoutMS": 2**53 - 1})
    run.started_earlier("1000 years")
    assert run_timeouts.enforce(api.dependencies) == []


@pytest.mark.parametrize(
    "environment",
    [
        {"SISU_ESCALATION_URL": "https://hook.example"},
        {"SISU_ESCALATION_SECRET": "s"},
        {"SISU_ESCALATION_URL": "ftp://hook.example", "SISU_ESCALATION_SECRET": "s"},
        {"SISU_ESCALATION_URL": "", "SISU_ESCALATION_SECRET": "s"},
    ],
)
def test_a_webhook_without_a_secret_or_of_another_kind_refuses_to_start(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        load_settings(environment)


def _due(api: Api) -> None:
    with api.dependencies.database.connect() as connection:
        connection.execute("UPDATE app.escalations SET next_attempt_at = now()")
