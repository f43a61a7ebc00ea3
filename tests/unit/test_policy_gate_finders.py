"""Every finder of the policy gates, on bad examples it must find and good ones it must leave alone."""

import pytest

from tests import policy_gates as gates
from tests.policy_gates import Finder, a_module, breaches


def lines(finder: Finder, text: str) -> list[int]:
    return [line for line, _ in finder(a_module(text))]


BAD: list[tuple[Finder, str]] = [
    (gates.clock_or_randomness, "import time"),
    (gates.clock_or_randomness, "from time import monotonic as tick"),
    (gates.clock_or_randomness, "def f():\n    import random"),
    (gates.clock_or_randomness, "import uuid, json"),
    (gates.clock_or_randomness, "from secrets import token_hex"),
    (gates.clock_or_randomness, "from os import urandom"),
    (gates.clock_or_randomness, "x = os.urandom(8)"),
    (gates.clock_or_randomness, "x = datetime.now(UTC)"),
    (gates.clock_or_randomness, "x = datetime.datetime.utcnow()"),
    (gates.clock_or_randomness, "f = date.today"),
    (gates.clock_or_randomness, "x = asyncio.get_running_loop().time()"),
    (gates.process_starts, "import subprocess"),
    (gates.process_starts, "from multiprocessing import Process"),
    (gates.process_starts, "from os import fork"),
    (gates.process_starts, "os.system('true')"),
    (gates.process_starts, "os.posix_spawn(path, [], {})"),
    (gates.process_starts, "os.execvpe(path, [], {})"),
    (gates.process_starts, "p = asyncio.create_subprocess_exec('true')"),
    (gates.environment_reads, "import os\nx = os.environ['HOME']"),
    (gates.environment_reads, "x = os.getenv('HOME')"),
    (gates.environment_reads, "from os import environ"),
    (gates.environment_reads, "os.environ.update(x)"),
    (gates.enqueues, "client.enqueue({}, 1)"),
    (gates.enqueues, "await queues.client(database).enqueue_async({})"),
    (gates.enqueues, "build_enqueue_status({}, s, (), {})"),
    (gates.enqueues, "client._sys_db.init_workflows(statuses)"),
    (gates.enqueues, "DBOS.start_workflow(f)"),
    (gates.sql_in_python, "c.execute('SELECT 1 FROM app.runs')"),
    (gates.sql_in_python, "q = f'DELETE FROM app.{table}'"),
    (gates.sql_in_python, "q = 'UPDATE app.runs SET status = %s' % status"),
    (gates.sql_in_python, "q = 'DROP TABLE ' + table"),
    (gates.built_where_executed, "c.execute(f'{verb} app.runs')"),
    (gates.built_where_executed, "c.execute(query('runs.get') + ' LIMIT 1')"),
    (gates.built_where_executed, "c.execute('%s' % text)"),
    (gates.built_where_executed, "c.execute(text.format(name))"),
    (gates.built_where_executed, "c.executemany(' '.join(parts), rows)"),
    (gates.built_where_executed, "sql.SQL(f'LISTEN {channel}')"),
    (gates.imports_of("dagster", "dbos"), "import dagster as dg"),
    (gates.imports_of("dagster", "dbos"), "from dagster._core.events import DagsterEvent"),
    (gates.imports_of("dagster", "dbos"), "def f():\n    from dbos import DBOS"),
    (
        gates.imports_of("sisu_pipeline.workflow.step_execution"),
        "from sisu_pipeline.workflow import step_execution",
    ),
    (gates.imports_of("sisu_pipeline.step_execution"), "from . import step_execution"),
    (gates.imports_beyond("json", "sisu_pipeline.domain.canonical"), "import os"),
    (gates.imports_beyond("json", "sisu_pipeline.domain.canonical"), "from sisu_pipeline import canonical, store"),
    (gates.calls_of("open", "hash"), "open('/etc/passwd')"),
    (gates.mentions_of("runs.move"), "c.execute(query('runs.move'))"),
]

GOOD: list[tuple[Finder, str]] = [
    (gates.clock_or_randomness, "from datetime import datetime\nx: datetime = steps.now(connection)"),
    (gates.clock_or_randomness, "from sisu_pipeline.runtime import x\ntimeout = request.time"),
    (gates.process_starts, "import os\nos.open('a', os.O_RDONLY)\nconnection.execute(query('a.b'))"),
    (gates.process_starts, "system.execute()\nmodel.fork()"),
    (gates.environment_reads, "environ = {}\nrequest.environ\nchild = child_environment(PORT='1')"),
    (gates.enqueues, "from sisu_pipeline import segments\nsegments.enqueue(database, segment)"),
    (gates.enqueues, "def enqueue(x):\n    return x"),
    (gates.sql_in_python, '"""SELECT what you like FROM here: a docstring."""\nquery("runs.get")'),
    (gates.sql_in_python, "raise E('please select one from the list, or update it and set it')"),
    (gates.built_where_executed, "c.execute(query('runs.get'), {'id': f'{x}'})\nc.execute(script.text)"),
    (gates.built_where_executed, "c.execute(sql.SQL('LISTEN {}').format(sql.Identifier(channel)))"),
    (gates.imports_of("dagster", "dbos"), "import dagsterish\nfrom sisu_pipeline import dbos_free"),
    (gates.imports_of("sisu_pipeline.workflow.step_execution"), "from sisu_pipeline import executor"),
    (
        gates.imports_beyond("json", "sisu_pipeline.domain.canonical"),
        "from sisu_pipeline.domain.canonical import x\nimport json",
    ),
    (gates.calls_of("open", "hash"), "gates.open(x)\nhashed = x.hash()"),
    (gates.mentions_of("runs.move"), "runs.move(connection, run, status)"),
]


@pytest.mark.parametrize(("finder", "text"), BAD)
def test_a_finder_finds_the_bad_example(finder: Finder, text: str) -> None:
    assert lines(finder, text)[-1] == text.count("\n") + 1


@pytest.mark.parametrize(("finder", "text"), GOOD)
def test_a_finder_leaves_the_good_example_alone(finder: Finder, text: str) -> None:
    assert lines(finder, text) == []


def test_a_breach_is_told_by_path_and_line_unless_its_place_is_allowed() -> None:
    module = a_module("import json\nimport time", "sisu_pipeline/proof/harness/lab_rounds.py")
    assert breaches([module], gates.clock_or_randomness) == ["sisu_pipeline/proof/harness/lab_rounds.py:2 time"]
    assert breaches([module], gates.clock_or_randomness, ["sisu_pipeline/proof/"]) == []
    assert breaches([module], gates.clock_or_randomness, ["sisu_pipeline/pro"]) != []


def test_the_queue_of_an_enqueue_is_read_from_its_options() -> None:
    module = a_module("client.enqueue({'queue_name': QueueName.INTENT, 'workflow_id': x})")
    assert list(gates.queue_names_enqueued(module)) == [(1, "QueueName.INTENT")]


def test_reach_follows_imports_of_imports() -> None:
    modules = [
        a_module("from sisu_pipeline import b", "sisu_pipeline/api/a.py"),
        a_module("def f():\n    from sisu_pipeline.c import thing", "sisu_pipeline/b.py"),
        a_module("import os", "sisu_pipeline/c.py"),
        a_module("import sisu_pipeline.b", "sisu_pipeline/unreached.py"),
    ]
    reached = gates.reach(modules, lambda path: path.startswith("sisu_pipeline/api/"))
    assert reached == {"sisu_pipeline.api.a", "sisu_pipeline.b", "sisu_pipeline.c"}


def test_a_statement_that_writes_a_status_is_known_by_what_it_sets() -> None:
    statements = {
        "bad": "UPDATE app.runs\nSET error = %(error)s,\n    status = 'failed' WHERE id = %(id)s",
        "bad_alias": "UPDATE app.runs AS r SET status = 'failed'",
        "good": "UPDATE app.runs SET last_step = 'x' WHERE status = 'running'",
        "good_read": "SELECT status = 'failed' FROM app.runs",
        "good_comment": "-- UPDATE app.runs SET status = 'failed'\nSELECT 1",
    }
    assert gates.status_writers(statements) == ["bad", "bad_alias"]


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("ALTER TABLE dbos.workflow_status ADD COLUMN x int", 1),
        ("CREATE INDEX i ON dbos.workflow_status (name)", 1),
        ("DROP SCHEMA dbos CASCADE", 1),
        ("delete from dbos.workflow_status", 1),
        ("UPDATE dbos.workflow_status SET status = 'x'", 1),
        ("CREATE SCHEMA IF NOT EXISTS dbos;", 0),
        ("SELECT * FROM dbos.workflow_status", 0),
        ("-- ALTER TABLE dbos.workflow_status\nSELECT 1", 0),
        ("CREATE VIEW app.v AS SELECT 1; SELECT * FROM dbos.queues", 0),
    ],
)
def test_a_change_of_the_engines_schema_is_found(text: str, changes: int) -> None:
    assert len(gates.engine_schema_changes(text)) == changes
