"""The lattice where no route decides: routing, the database away, our own faults."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from resources.database import Database
from sisu_pipeline.api.views import run_views
from tests.integration.api.conftest import Api, dependencies_over, serving

Until = Callable[[Callable[[], bool]], None]


@pytest.mark.parametrize("path", ["/nothing", "/intents/", "/runs/", "/runs/x/approve", "/INTENTS", "/x//healthz"])
def test_no_route_is_a_404(api: Api, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error": "not found", "code": "not_found", "details": []}


@pytest.mark.parametrize("path", ["/policies", "/recipes"])
def test_a_405_names_the_methods_of_all_routes_with_the_path(api: Api, path: str) -> None:
    answer = api.client.request("OPTIONS", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize(("method", "path"), [("GET", "/intents"), ("DELETE", "/runs"), ("PATCH", "/healthz")])
def test_another_method_is_a_405_that_names_the_right_one(api: Api, method: str, path: str) -> None:
    answer = api.client.request(method, path)
    assert answer.status_code == 405
    assert answer.json() == {"error": "method not allowed", "code": "method_not_allowed", "details": []}
    assert answer.headers["allow"] in ("GET", "POST")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"host": "rebound.example"},
        {"host": "[::1"},
        {"host": ""},
    ],
)
def test_a_page_of_another_site_is_refused_and_writes_nothing(
    api: Api, contents: Callable[[], dict[str, str]], headers: dict[str, str]
) -> None:
    before = contents()
    answer = api.client.post("/intents", json={"goal": "g", "inputs": {}, "constraints": {}}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")
    assert contents() == before


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "[::1]:{}", "localhost"])
def test_our_own_page_under_any_name_of_this_machine_is_welcome(api: Api, host: str) -> None:
    name = host.format(api.port)
    assert api.client.get("/runs", headers={"host": name, "origin": f"http://{name}"}).status_code == 200


def test_our_own_fault_is_logged_with_its_traceback_and_hidden_from_the_client(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret cause")

    monkeypatch.setattr(run_views, "run_page", broken)
    with caplog.at_level(logging.ERROR):
        answer = api.get("/runs")
    assert (answer.status_code, answer.content) == (500, b'{"error":"internal error"}')
    assert "the secret cause" in caplog.text
    assert "Traceback" in caplog.text


@pytest.fixture
def switch(database: Database) -> Iterator[tuple[Database, Path, Path]]:
    """The database behind a socket folder that is not there yet, that folder, and the real one."""
    real = parse_qs(urlsplit(database.url).query)["host"][0]
    with tempfile.TemporaryDirectory(prefix="sisu-") as folder:
        link = Path(folder) / "s"
        yield Database(f"postgresql://postgres@/app_local?host={link}"), link, Path(real)


def test_without_a_database_it_says_so_and_serves_again_when_it_is_back(
    switch: tuple[Database, Path, Path], clean_database: Database, tmp_path: Path, until: Until
) -> None:
    away, link, real = switch
    with serving(dependencies_over(away, tmp_path)) as live:
        answer = httpx.get(f"{live.url}/runs", timeout=20)
        assert answer.status_code == 503
        assert answer.json() == {
            "error": "the database cannot be reached or is busy: try again",
            "code": "database_unavailable",
            "details": [],
        }
        assert httpx.get(f"{live.url}/healthz").status_code == 200
        assert httpx.get(f"{live.url}/readyz", timeout=20).status_code == 503
        link.symlink_to(real)
        until(lambda: httpx.get(f"{live.url}/runs", timeout=20).status_code == 200)


def test_connections_killed_behind_its_back_are_replaced_before_a_client_notices(api: Api) -> None:
    for _ in range(3):
        with ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(api.state.pool.connect())
        with api.dependencies.database.connect(autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sisu-api'"
            )
        assert api.get("/runs").status_code == 200


def test_transactions_that_lose_against_each_other_are_repeated_and_no_client_notices(
    clean_database: Database, tmp_path: Path
) -> None:
    serializable = quote("-c default_transaction_isolation=serializable")
    database = Database(f"{clean_database.url}&options={serializable}")
    with (
        serving(dependencies_over(database, tmp_path)) as live,
        httpx.Client(base_url=live.url, timeout=60) as client,
        ThreadPoolExecutor(16) as threads,
    ):

        def start(number: int) -> list[int]:
            intent = {"goal": f"g{number % 8}", "inputs": {}, "constraints": {}}
            submitted = client.post("/intents", json=intent)
            body = {"recipeName": "sandbox-default", "queuePartitionKey": "t"}
            started = client.post(f"/intents/{submitted.json()['intentId']}/run", json=body)
            approved = client.post(f"/runs/{started.json()['runId']}/approve-plan", json={"approvedBy": "po"})
            return [submitted.status_code, started.status_code, approved.status_code]

        codes = [code for codes in threads.map(start, range(64)) for code in codes]
    assert set(codes) <= {200, 201, 202}


def test_a_full_disk_of_the_database_is_a_503_and_writes_nothing(
    api: Api, contents: Callable[[], dict[str, str]]
) -> None:
    function = (
        "CREATE FUNCTION public.refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"
    )
    trigger = (
        "CREATE TRIGGER full_disk BEFORE INSERT ON app.intents FOR EACH ROW EXECUTE FUNCTION public.refuse_row()"
    )
    before = contents()
    with api.dependencies.database.connect() as connection:
        connection.execute(function)
        connection.execute(trigger)
    try:
        answer = api.post("/intents", {"goal": "g", "inputs": {}, "constraints": {}})
    finally:
        with api.dependencies.database.connect() as connection:
            connection.execute("DROP FUNCTION public.refuse_row() CASCADE")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert contents() == before
