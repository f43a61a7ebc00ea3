"""GET /healthz, /readyz, /ops/queue-depth, /docs, /openapi.json."""

import gzip
import os
import re
import signal
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg
import pytest

from resources.database import Database
from resources.migrations import create_database, migrate
from sisu_pipeline.api.state import readiness
from sisu_pipeline.queueing import dbos_queues
from tests.builders import a_run
from tests.integration.api.conftest import Api, dependencies_over, serving


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/readyz", "/runs", "/openapi.json", "/inbox/events", "/nowhere"]
)
def test_head_is_a_get_without_a_body(api: Api, path: str) -> None:
    head = api.client.head(path)
    with api.client.stream("GET", path) as got:
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert _described(head) == _described(got)


def _described(answer: httpx.Response) -> dict[str, str]:
    """The headers about the content: not the time of the answer, nor how its body is sent."""
    return {name: value for name, value in answer.headers.items() if name not in ("date", "transfer-encoding")}


def test_a_compressed_body_is_a_415_that_says_so(api: Api) -> None:
    answer = api.client.post("/intents", content=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_encoding")
    assert answer.json()["error"] == 'send the body uncompressed (got Content-Encoding "gzip")'


def test_healthz(api: Api) -> None:
    assert api.get("/healthz").json() == {"ok": True}


def test_readyz_is_a_503_while_the_database_does_not_answer(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "TIMEOUT_S", 0.5)
    assert (api.get("/readyz").status_code, api.get("/readyz").json()) == (200, {"ok": True})
    with api.dependencies.database.connect() as connection, ExitStack() as stopped:
        sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = 'sisu-api'"
        for row in connection.execute(sessions).fetchall():
            os.kill(row["pid"], signal.SIGSTOP)
            stopped.callback(os.kill, row["pid"], signal.SIGCONT)
        answers = [api.get("/readyz") for _ in range(2)]
        assert api.get("/healthz").status_code == 200
    assert [answer.status_code for answer in answers] == [503, 503]
    assert answers[0].json()["code"] == "database_unavailable"
    assert api.get("/readyz").status_code == 200


def test_queue_depth_counts_dbos_work_by_queue_and_version_and_runs_by_status(api: Api) -> None:
    dbos_queues.migrate(api.dependencies.database)
    with api.dependencies.database.connect() as connection:
        connection.execute("DELETE FROM dbos.workflow_status")
        row = (
            "INSERT INTO dbos.workflow_status"
            " (workflow_uuid, status, queue_name, application_version, created_at, updated_at, priority)"
            " VALUES (%s, %s, %s, %s, %s, %s, 0)"
        )
        connection.execute(row, ["a", "ENQUEUED", "intentQ", "v1", 1000, 1000])
        connection.execute(row, ["b", "ENQUEUED", "intentQ", "v0", 3000, 3000])
        connection.execute(row, ["c", "PENDING", "sbxQ", "v1", 2000, 2000])
        connection.execute(row, ["d", "SUCCESS", "sbxQ", "v1", 500, 500])
        run = a_run(connection)
    depth = api.get("/ops/queue-depth").json()
    assert depth["queues"] == [
        {
            "queueName": "intentQ",
            "status": "ENQUEUED",
            "workflowCount": 2,
            "oldestCreatedAt": 1000,
            "newestCreatedAt": 3000,
        },
        {
            "queueName": "sbxQ",
            "status": "PENDING",
            "workflowCount": 1,
            "oldestCreatedAt": 2000,
            "newestCreatedAt": 2000,
        },
    ]
    assert depth["versions"] == [
        {"appVersion": "v0", "queueName": "intentQ", "enqueued": 1, "pending": 0},
        {"appVersion": "v1", "queueName": "intentQ", "enqueued": 1, "pending": 0},
        {"appVersion": "v1", "queueName": "sbxQ", "enqueued": 0, "pending": 1},
    ]
    created = int(run.created_at.timestamp() * 1000)
    assert depth["runs"] == [{"status": "queued", "count": 1, "oldestCreatedAt": created}]
    with api.dependencies.database.connect() as connection:
        connection.execute("DELETE FROM dbos.workflow_status")


def test_queue_depth_is_empty_before_dbos_has_made_its_tables(database: Database, tmp_path: Path) -> None:
    fresh = Database(database.url.replace("/app_local?", "/app_fresh?"))
    create_database(fresh)
    try:
        migrate(fresh)
        with serving(dependencies_over(fresh, tmp_path)) as live:
            answer = httpx.get(f"{live.url}/ops/queue-depth")
        assert answer.json() == {"queues": [], "runs": [], "versions": []}
    finally:
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("DROP DATABASE app_fresh WITH (FORCE)")


def test_the_docs_load_nothing_from_elsewhere(api: Api) -> None:
    page = api.get("/docs").text
    addresses = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", page)
    assert len(addresses) >= 4
    for address in addresses:
        assert address.startswith("/")
        assert api.get(address).status_code == 200
    assert "://" not in page


def test_the_openapi_names_every_route(api: Api) -> None:
    assert set(api.get("/openapi.json").json()["paths"]) >= {
        "/artifacts/{uri}",
        "/healthz",
        "/inbox",
        "/inbox/events",
        "/intents",
        "/intents/{intent_id}/run",
        "/ops/queue-depth",
        "/readyz",
        "/runs",
        "/runs/{run_id}",
        "/runs/{run_id}/approve-plan",
        "/runs/{run_id}/cancel",
        "/runs/{run_id}/events",
        "/runs/{run_id}/gates",
        "/runs/{run_id}/gates/{gate_key}",
        "/runs/{run_id}/gates/{gate_key}/answer",
        "/runs/{run_id}/interactions",
        "/runs/{run_id}/plan",
        "/runs/{run_id}/reject-plan",
        "/runs/{run_id}/retry",
        "/session",
        "/session/close",
        "/session/cookie",
    }


def test_an_operator_declares_the_successor_of_a_version_once(api: Api) -> None:
    dbos_queues.migrate(api.dependencies.database)
    with api.dependencies.database.connect() as connection:
        a_run(connection)
        connection.execute("DELETE FROM dbos.application_versions")
        connection.execute("INSERT INTO dbos.application_versions (version_id, version_name) VALUES ('i', 'v2')")
    declaration = {"oldVersion": "v1", "newVersion": "v2", "reason": "upgrade", "actor": "po"}
    made = api.post("/ops/version-adoptions", declaration)
    assert made.status_code == 201, made.text
    adoption = {name: made.json()[name] for name in ("oldVersion", "newVersion", "adoptedBy", "channel", "reason")}
    assert adoption == {
        "oldVersion": "v1",
        "newVersion": "v2",
        "adoptedBy": "po",
        "channel": "api",
        "reason": "upgrade",
    }
    again = api.post("/ops/version-adoptions", declaration | {"reason": "other"})
    assert (again.status_code, again.json()["isReplay"], again.json()["reason"]) == (200, True, "upgrade")
    refused = api.post("/ops/version-adoptions", {"oldVersion": "v2", "newVersion": "v1"})
    assert (refused.status_code, refused.json()["code"]) == (409, "adoption_refused")
    listed = {version.pop("version"): version for version in api.get("/ops/versions").json()["versions"]}
    counts = {"unfinishedRuns": 1, "enqueued": 0, "pending": 0, "workers": 0}
    assert listed["v1"] == counts | {"adoption": adoption | {"adoptedAt": made.json()["adoptedAt"]}}
    assert listed["v2"] == dict.fromkeys(counts, 0) | {"adoption": None}
