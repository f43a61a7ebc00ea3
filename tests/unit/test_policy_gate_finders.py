"""Every finder of the policy gates, on bad examples it must find and good ones it must leave alone."""

import pytest

from tests import policy_gates as gates
from tests import sql_gates
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
    (gates.exception_families, "try:\n    f()\nexcept psycopg.OperationalError: pass"),
    (gates.exception_families, "try:\n    f()\nexcept (ValueError, InterfaceError): pass"),
    (gates.exception_families, "with contextlib.suppress(KeyError, psycopg2.OperationalError): f()"),
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
    (gates.imports_beyond("json", "sisu_pipeline.domain.canonical"), "import os"),
    (gates.imports_beyond("json", "sisu_pipeline.domain.canonical"), "from sisu_pipeline import canonical, store"),
    (gates.calls_of("open", "hash"), "open('/etc/passwd')"),
    (gates.mentions_of("runs.move"), "c.execute(query('runs.move'))"),
]

# The same things under other names.
DISGUISED: list[tuple[Finder, str]] = [
    (gates.clock_or_randomness, "from datetime import datetime as D\nx = D.now()"),
    (gates.clock_or_randomness, "import datetime as d\nnow = d.datetime.now\nx = now()"),
    (gates.clock_or_randomness, "def f(loop):\n    return loop.time()"),
    (gates.clock_or_randomness, "import os as o\nx = o.times()"),
    (gates.clock_or_randomness, "from os import *\nx = urandom(8)"),
    (gates.clock_or_randomness, "import importlib as i\nx = i.import_module('time').monotonic()"),
    (gates.clock_or_randomness, "x = __import__('time').monotonic()"),
    (gates.process_starts, "import os as o\no.system('true')"),
    (gates.process_starts, "from os import execvp"),
    (gates.process_starts, "from os import spawnlp as run"),
    (gates.process_starts, "from os import forkpty"),
    (gates.process_starts, "from asyncio import create_subprocess_exec"),
    (gates.process_starts, "import os\ngetattr(os, 'sys' + 'tem')('true')"),
    (gates.process_starts, "import os\nvars(os)['system']('true')"),
    (gates.process_starts, "import sys\nsys.modules['os'].system('true')"),
    (gates.process_starts, "import os\nstart = os.fork\nstart()"),
    (gates.process_starts, "import os\n(run := os).system('true')"),
    (gates.process_starts, "async def f(loop):\n    await loop.subprocess_exec(p, 'true')"),
    (gates.process_starts, "from posix import *\nsystem('true')"),
    (gates.native_code, "import ctypes\nctypes.CDLL(None).system(b'true')"),
    (gates.native_code, "from ctypes import CDLL as C"),
    (gates.environment_reads, "import os as o\nx = o.environ['HOME']"),
    (gates.environment_reads, "from os import environ as e"),
    (gates.environment_reads, "import os\nx = getattr(os, 'environ')"),
    (gates.environment_reads, "import os\nx = os.__dict__['environ']"),
    (gates.environment_reads, "open('/proc/self/environ')"),
    (gates.environment_reads, "path = '/proc/self' + '/environ'"),
    (gates.enqueues, "e = client.enqueue\ne()"),
    (gates.enqueues, "getattr(client, 'enqueue')()"),
    (gates.enqueues, "from dbos._enqueue_options import build_enqueue_status as b\nb()"),
    (gates.enqueues, "from sisu_pipeline.queueing import dbos_queues\ndbos_queues.client(d).enqueue({})"),
    (gates.sql_in_python, "c.execute('select 1 from app.runs')"),
    (gates.sql_in_python, "q = 'delete from runs'"),
    (gates.sql_in_python, "q = 'order by id limit 1 union select id from app.runs'"),
    (gates.sql_in_python, "c.execute('COPY app.runs FROM PROGRAM $$true$$')"),
    (gates.sql_in_python, "q = 'copy runs from program $$true$$'"),
    (gates.sql_in_python, "q = 'GRANT ALL ON app.runs TO public'"),
    (gates.sql_in_python, "q = 'grant all on runs to public'"),
    (gates.sql_in_python, "c.execute(query='VACUUM FULL')"),
    (gates.built_where_executed, "def f(c, t):\n    q = f'{t} app.runs'\n    c.execute(q)"),
    (gates.built_where_executed, "def f(c, t):\n    q = ''\n    q += t\n    c.execute(q)"),
    (gates.built_where_executed, "c.execute(query=f'{verb} app.runs')"),
    (gates.imports_beyond("json"), "import importlib\nimportlib.import_module('socket')"),
    (gates.imports_beyond("json"), "__import__(name)"),
    (gates.calls_of("open"), "import builtins\nbuiltins.open('/etc/passwd')"),
    (gates.calls_of("open"), "read = open\nread('/etc/passwd')"),
    (gates.mentions_of("runs.move"), "c.execute(query('runs.' + 'move'))"),
]

GOOD: list[tuple[Finder, str]] = [
    (gates.exception_families, "try:\n    f()\nexcept psycopg.Error as failure:\n    raise"),
    (gates.exception_families, "raise psycopg.OperationalError('closed')"),
    (gates.clock_or_randomness, "from datetime import datetime\nx: datetime = steps.now(connection)"),
    (gates.clock_or_randomness, "from sisu_pipeline.runtime import x\ntimeout = request.time"),
    (gates.process_starts, "import os\nos.open('a', os.O_RDONLY)\nconnection.execute(query('a.b'))"),
    (gates.process_starts, "system.execute()\nmodel.fork()"),
    (gates.environment_reads, "environ = {}\nrequest.environ\nchild = child_environment(PORT='1')"),
    (gates.enqueues, "from sisu_pipeline import segments\nsegments.enqueue(database, segment)"),
    (gates.enqueues, "def enqueue(x):\n    return x"),
    (gates.sql_in_python, '"""SELECT what you like FROM here: a docstring."""\nquery("runs.get")'),
    (gates.sql_in_python, "raise E('please select one from the list, or update it and set it')"),
    (gates.sql_in_python, "help = 'Copy a run from a file, and grant a role.'\nhttp.stream('GET', url)"),
    (gates.built_where_executed, "def f(c):\n    c.execute(q)\n\ndef g(t):\n    q = f'{t}'\n    return q"),
    (gates.built_where_executed, "c.execute(query('runs.get'), {'id': f'{x}'})\nc.execute(script.text)"),
    (gates.built_where_executed, "c.execute(sql.SQL('LISTEN {}').format(sql.Identifier(channel)))"),
    (
        gates.imports_beyond("json", "sisu_pipeline.domain.canonical"),
        "from sisu_pipeline.domain.canonical import x\nimport json",
    ),
    (gates.calls_of("open", "hash"), "gates.open(x)\nhashed = x.hash()"),
    (gates.mentions_of("runs.move"), "runs.move(connection, run, status)"),
]


@pytest.mark.parametrize(("finder", "text"), [*BAD, *DISGUISED])
def test_a_finder_finds_the_bad_example(finder: Finder, text: str) -> None:
    assert text.count("\n") + 1 in lines(finder, text) or finder is gates.native_code


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


@pytest.mark.parametrize(
    ("text", "writes"),
    [
        ("UPDATE app.runs\nSET error = %(error)s,\n    status = 'failed' WHERE id = %(id)s", True),
        ("UPDATE app.runs AS r SET status = 'failed'", True),
        ("update app.runs set status = 'failed'", True),
        ("UPDATE ONLY app.runs SET status = 'failed'", True),
        ('UPDATE "app"."runs" SET "status" = %(status)s', True),
        ("UPDATE app.runs SET (error, status) = ('e', 'failed')", True),
        ("UPDATE /* SET */ app.runs -- SET\nSET error = f('a', b), status = 'failed'", True),
        ("WITH w AS (UPDATE runs r SET status = 'failed' RETURNING id) SELECT 1 FROM w", True),
        ("INSERT INTO app.runs (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET status = 'failed'", True),
        ("INSERT INTO app.runs (id, status) VALUES (1, 'failed')", True),
        ("MERGE INTO app.runs r USING x ON r.id = x.id WHEN MATCHED THEN UPDATE SET status = x.status", True),
        ("UPDATE app.runs SET last_step = 'x' WHERE status = 'running'", False),
        ("UPDATE app.runs SET last_step = s.status FROM s WHERE true", False),
        ("UPDATE app.runs SET error = 'status = x'", False),
        ("UPDATE dagster.runs SET status = 'FAILURE'", False),
        ("SELECT status = 'failed' FROM app.runs", False),
        ("-- UPDATE app.runs SET status = 'failed'\nSELECT 1", False),
    ],
)
def test_a_statement_that_writes_a_status_is_known_by_what_it_sets(text: str, writes: bool) -> None:
    assert sql_gates.status_writers({"it": text}) == (["it"] if writes else [])


def test_a_caller_is_known_by_its_call() -> None:
    statements = {"calls": "SELECT * FROM App.Move_Run (1)", "names": "-- app.move_run(1)\nSELECT 'app.move_run'"}
    assert sql_gates.callers(statements, "app.move_run") == ["calls"]


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("ALTER TABLE dbos.workflow_status ADD COLUMN x int", 1),
        ("CREATE INDEX i ON dbos.workflow_status (name)", 1),
        ("DROP SCHEMA dbos CASCADE", 1),
        ("delete from dbos.workflow_status", 1),
        ("UPDATE dbos.workflow_status SET status = 'x'", 1),
        (f"ALTER TABLE /* {'x' * 80} */ dbos.workflow_status ADD COLUMN x int", 1),
        ('Insert Into "dbos" . "queues" VALUES (1)', 1),
        ("UPDATE ONLY dbos.queues SET name = 'x'", 1),
        ("GRANT SELECT ON dbos.queues TO public", 1),
        ("CREATE TRIGGER t AFTER INSERT ON dbos.queues EXECUTE FUNCTION app.f()", 1),
        ("ALTER TABLE app.runs SET SCHEMA dbos", 1),
        ("DO $$ BEGIN EXECUTE 'DROP TABLE dbos.queues'; END $$", 1),
        ("WITH gone AS (DELETE FROM dbos.queues RETURNING 1) SELECT 1", 1),
        ("SET search_path = dbos", 1),
        ("CREATE SCHEMA IF NOT EXISTS dbos;", 0),
        ("CREATE VIEW app.v AS SELECT * FROM dbos.queues JOIN dbos.workflow_status USING (name)", 0),
        ("SELECT * FROM dbos.workflow_status", 0),
        ("-- ALTER TABLE dbos.workflow_status\nSELECT 1", 0),
        ("CREATE VIEW app.v AS SELECT 1; SELECT * FROM dbos.queues", 0),
    ],
)
def test_a_change_of_the_engines_schema_is_found(text: str, changes: int) -> None:
    assert len(sql_gates.engine_schema_changes(text)) == changes
