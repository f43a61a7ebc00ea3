"""Stacks in unusual environments: the server's settings, role, names, language, paths, locale at once; no IPv6."""

import getpass
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg import conninfo

from resources.database import Database
from sisu_pipeline.proof.harness.lab_stack import lab_stack
from sisu_pipeline.proof.harness.postgres_proxy import PostgresProxy
from sisu_pipeline.proof.harness.running_stack import RunningStack, connect_to
from sisu_pipeline.settings import child_environment
from tests.chaos.conftest import VARIABLES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROLE, NAME = "sisu_plain", "sisu-Other"
TIMEOUT_S = 90.0
SETTINGS = {
    "idle_session_timeout": "5s",
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "3s",
    "default_transaction_isolation": "serializable",
    "timezone": "America/New_York",
    "lc_messages": "C",
}
# In a network of its own with only a loopback interface that has no IPv6 address.
WITHOUT_IPV6 = """
echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
"$0" -c '
import fcntl, socket, struct
request = struct.pack("16sh14x", b"lo", 1 | 64)
fcntl.ioctl(socket.socket(), 0x8914, request)
'
exec "$@"
"""
TIMES = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d[^\"\s\\]*")
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(\d{3})?Z")


@pytest.fixture
def other_database(database: Database) -> Iterator[str]:
    """The URL of a database with every setting, for a role without privileges, behind a dead server.

    Its errors are in another language.
    """
    with database.connect(autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER")
        connection.execute(f'CREATE DATABASE "{NAME}" OWNER {ROLE}')
        for setting, value in SETTINGS.items():
            connection.execute(f"ALTER DATABASE \"{NAME}\" SET {setting} = '{value}'")
        folder = str(conninfo.conninfo_to_dict(database.url)["host"])
        with (Path(folder) / "pg_ident.conf").open("a") as users:
            users.write(f"sisu {getpass.getuser()} {ROLE}\n")
        connection.execute("SELECT pg_reload_conf()")
    proxy = tempfile.mkdtemp(prefix="sisu-proxy-")
    hosts = quote(f"/nowhere,{proxy}", safe="")
    try:
        with PostgresProxy(Path(folder), lambda _: None, translates=True).serve(Path(proxy)):
            yield f"postgresql://{ROLE}@/{NAME}?host={hosts}&options={quote('-c jit=off -c geqo=off')}"
    finally:
        with database.connect(autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{NAME}" WITH (FORCE)')
            connection.execute(f"DROP ROLE {ROLE}")
        shutil.rmtree(proxy)


@pytest.fixture
def stack(other_database: str) -> Iterator[RunningStack]:
    with tempfile.TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as folder:
        variables = VARIABLES | {
            "DATABASE_URL": other_database,
            "SISU_PORT": "tcp://10.0.0.1:3001",
            "SISU_SERVICE_HOST": "10.0.0.1",
            "OC_EDITOR": "vi",
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            "TMPDIR": "/proc/sys",  # no user may write there
            "TZ": "Asia/Kolkata",
        }
        home = Path(folder) / "it's ä data 数据"
        with lab_stack(home, variables) as process, connect_to(process) as running:
            yield running


def test_intents_end_and_times_are_utc_where_everything_is_unusual(stack: RunningStack) -> None:
    with stack.database.connect() as connection:
        row = connection.execute("SELECT current_user AS role, current_setting('is_superuser') AS super").fetchone()
        assert row == {"role": ROLE, "super": "off"}
        shown = connection.execute(
            "SELECT current_setting('jit') AS jit, current_setting('geqo') AS geqo"
        ).fetchone()
        assert shown == {"jit": "off", "geqo": "off"}
        for setting in ("default_transaction_isolation", "timezone", "idle_session_timeout"):
            shown = connection.execute("SELECT current_setting(%s) AS value", [setting]).fetchone()
            assert shown == {"value": SETTINGS[setting]}
    # Longer than the timeout of idle sessions: listeners and pools lose theirs meanwhile.
    inputs = {"tests": ["7 a", "7 b"], "testCommand": "sleep", "files": {"ä b.txt": "1\n"}}
    first = stack.submit("ein Ziel mit Ümläuten 数据", inputs, "p ä")
    expired = stack.post(
        "/intents", {"goal": "nobody decides", "inputs": {}, "constraints": {"planApprovalTimeoutS": 2}}
    )[1]["intentId"]
    stack.post(f"/intents/{expired}/run", {"recipeName": "sandbox-default", "queuePartitionKey": "p"})
    stack.wait_for_status([first], "waiting_input", TIMEOUT_S)
    stack.approve(first)
    stack.wait_for_status([first], "succeeded", TIMEOUT_S)
    stack.wait_for_status([expired], "retries_exceeded", TIMEOUT_S)
    crowd = [stack.submit(f"number {number}", {"tests": ["0 t"], "testCommand": "sleep"}) for number in range(12)]
    for workflow_id in crowd:
        stack.approve(workflow_id)
    stack.rows("labs.terminate", pids=[row["pid"] for row in stack.rows("labs.backends")])
    stack.wait_for_status(crowd, "succeeded", TIMEOUT_S)
    runs = stack.rows("gate_load.outcomes", workflow_ids=[first, expired, *crowd])
    assert [run["executions"] for run in runs if run["workflow_id"] in crowd] == [1] * len(crowd)
    for run in runs:
        for path in ("", "/interactions", "/plan", "/gates", "/history"):
            status, answer = stack.get(f"/runs/{run['id']}{path}")
            assert status == 200
            assert_utc(answer)
    for path in ("/inbox", "/runs", "/recipes", "/policies"):
        assert_utc(stack.get(path)[1])
    with stack.database.connect() as connection:
        for statement in ("SELECT payload FROM app.human_interactions", "SELECT output FROM app.run_steps"):
            assert_utc([list(row.values()) for row in connection.execute(statement)])
    assert stack.broken_laws() == {}
    assert stack.rows("labs.unsettled") == []


def test_the_demo_runs_on_a_machine_without_ipv6() -> None:
    with tempfile.TemporaryDirectory(prefix="sisu-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        separate = ("unshare", "--net", "sh", "-ec", WITHOUT_IPV6, sys.executable)
        if subprocess.run((*separate, "true"), capture_output=True, check=False).returncode != 0:
            pytest.skip("this user may not create networks")
        done = subprocess.run(
            (*separate, sys.executable, "-m", "sisu_pipeline.cli", "demo"),
            env=child_environment(SISU_HOME=f"{folder}/home"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def assert_utc(answer: object) -> None:
    """Every time in a JSON document is UTC, as `2026-01-31T09:30:00.000Z`."""
    for time in TIMES.findall(json.dumps(answer, default=str)):
        assert UTC_TIME.fullmatch(time), time
