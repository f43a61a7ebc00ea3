"""The seed's policy gates: what our own source may not do, and the few places where it may.

Every finder is proved on bad and good examples in `test_policy_gate_finders.py`. To extend an allow-list, write
the reason beside it.
"""

import re
from collections import Counter
from pathlib import PurePosixPath

import pytest

import sql
from tests import policy_gates as gates
from tests import sql_gates
from tests.policy_gates import Finder, Module, breaches

SOURCE = gates.project()

# Decisions: the same answer for the same question, whoever asks and whenever.
PURE = (
    "sisu_pipeline/steps/",
    "sisu_pipeline/contracts/",
    "sisu_pipeline/domain/budget.py",
    "sisu_pipeline/domain/canonical.py",
    "sisu_pipeline/domain/changes/",
    "sisu_pipeline/domain/complete_plan.py",
    "sisu_pipeline/domain/errors.py",
    "sisu_pipeline/domain/identity.py",
    "sisu_pipeline/domain/plan_edit.py",
    "sisu_pipeline/domain/policy.py",
    "sisu_pipeline/domain/status.py",
    "sisu_pipeline/domain/untrusted_text.py",
)
PURE_IMPORTS = (
    "base64",
    "collections.abc",
    "dataclasses",
    "datetime.datetime",
    "decimal",
    "difflib",
    "enum",
    "functools",
    "itertools",
    "json",
    "math",
    "re",
    "shlex",
    "typing",
    "unicodedata",
    "zlib",
    "pydantic",
    *(place.removesuffix(".py").removesuffix("/").replace("/", ".") for place in PURE),
)

CLOCKS = {
    "resources/git/mirrors.py": "waits for the lock of a fetch until a deadline",
    "resources/message_channels.py": "a message is signed with the time of its attempt",
    "resources/notifications.py": "waits for a notification until a deadline",
    "resources/planner/chat_planner.py": "measures how long a model took",
    "resources/planner/acp/": "watches an agent's silence and time; durations are evidence, never identity",
    "resources/repeated_errors.py": "reports an error of a loop once a minute",
    "resources/retry.py": "spreads the pauses of callers that collided; nothing that is stored depends on them",
    "resources/sandbox/": "measures how long a command ran; a result's metrics are evidence, never identity",
    "sensors/": "a tick may take only so long",
    "sisu_pipeline/api/auth/authentication.py": "a proxy's signed header expires",
    "sisu_pipeline/api/streams/change_streams.py": "a stream sends a heartbeat",
    "sisu_pipeline/api/routes/session_routes.py": "a session's id is a random secret",
    "sisu_pipeline/api/routes/sign_in_routes.py": "a session's id is a random secret",
    "sisu_pipeline/client/sisu_client.py": "waits before it connects again, up to a deadline",
    "sisu_pipeline/cli/stack_commands/notification_commands.py": "a test message states when it was sent",
    "sisu_pipeline/cli/commands/token_commands.py": "a token is a random secret",
    "sisu_pipeline/dagster_web/sign_in.py": "a session id is a random secret, and a proxy's signed header expires",
    "sisu_pipeline/console/": "shows people how long something takes",
    "sisu_pipeline/recovery/observed_time.py": "measures how long work is lost by the observer's own clock",
    "sisu_pipeline/recovery/lost_claims.py": "judges how long its own claims stand by its own clock",
    "resources/clock_watch.py": "notices that the clock was set back",
    "sisu_pipeline/proof/": "measures",
    "sisu_pipeline/queueing/dbos_queues.py": "keeps what DBOS read for a while",
    "sisu_pipeline/recovery/run_recovery.py": "judges a worker's silence by the observer's own clock",
    "sisu_pipeline/single_sign_on/oidc_client.py": "state, nonce and verifier are random, and keys are read again",
    "sisu_pipeline/supervisor/stack_health.py": "compares this machine's clock with the database's for people",
    "sisu_pipeline/supervisor/stack.py": "supervises processes: grace periods and restarts",
    "sisu_pipeline/queueing/fan_out_wait.py": "looks at the rows again after a while",
    "sisu_pipeline/workflow/escalation.py": "delivers for the length of a tick",
    "sisu_pipeline/worker/worker_group.py": "supervises its children: grace periods and restarts",
    "sisu_pipeline/worker/notifier.py": "abandons an attempt that takes too long by its own clock",
    "sisu_pipeline/worker/worker_process.py": "a worker process gets an id of its own, and stops within a deadline",
}

PROCESSES = {
    "resources/embedded_postgres.py": "runs the bundled server",
    "resources/git/git_command.py": "runs git",
    "sisu_pipeline/database_server.py": "runs the bundled psql",
    "resources/sandbox/local/isolation/box_relay.py": "becomes a program inside its sandbox",
    "resources/planner/acp/playback_agent.py": "starts the tool's server inside the sandbox, as agents do",
    "resources/sandbox/": "runs tasks",
    "sisu_pipeline/cli/": "becomes the process it was asked for",
    "sisu_pipeline/console/intent_files.py": "reads the user's git checkout",
    "sisu_pipeline/proof/": "starts and kills whole stacks",
    "sisu_pipeline/supervisor/child_processes.py": "lowers the priority of a child before it starts",
    "sisu_pipeline/supervisor/stack.py": "starts the processes of `sisu start`",
    "sisu_pipeline/worker/worker_group.py": "forks warm worker processes",
}

ENVIRONMENT = {
    "sisu_pipeline/settings.py": "the only reader",
    "sisu_pipeline/proof/harness/clock_hook/sitecustomize.py": "sets a variable of libfaketime in each process",
    "resources/sandbox/local/isolation_probe.py": "runs inside the sandbox, and proves that it leaks nothing",
}

NATIVE = {
    "resources/postgres_server/private_mounts.py": "mounts",
    "resources/sandbox/local/": "builds and probes the sandbox with system calls that Python lacks",
    "sisu_pipeline/supervisor/child_processes.py": "a child dies with its supervisor (prctl)",
    "sisu_pipeline/worker/worker_group.py": "limits the arenas of malloc before it forks",
}

ENQUEUE_SITES = (
    "sisu_pipeline/queueing/segment_queue.py",
    "sisu_pipeline/queueing/fan_out.py",
    "sisu_pipeline/queueing/question_queue.py",
)

FAMILIES = {
    "resources/migrations.py": "only connecting raises here, and the message decides",
    "resources/postgres_pool.py": "a connection that is closed is lost, whatever the error",
    "sisu_pipeline/api/server.py": "a start that fails because of the database ends with its message",
    "sisu_pipeline/dagster_web/__main__.py": "a start that fails because of the database ends with its message",
    "sisu_pipeline/proof/": "a lab looks again",
}

SQL_IN_PYTHON = {
    "resources/migrations.py": "names of databases and schemas are identifiers, which no parameter can be",
    "resources/notifications.py": "so is a channel's name",
}


def in_place(place: tuple[str, ...]) -> list[Module]:
    return [module for module in SOURCE if gates.under(module.path, place)]


def test_clocks_and_randomness_stay_in_their_places() -> None:
    assert breaches(SOURCE, gates.clock_or_randomness, CLOCKS) == []


def test_failures_are_classified_in_one_place() -> None:
    assert breaches(SOURCE, gates.exception_families, FAMILIES) == []


def test_no_decision_looks_at_a_clock() -> None:
    assert breaches(in_place(PURE), gates.clock_or_randomness) == []


def test_decisions_import_nothing_that_reaches_the_world() -> None:
    canonical = "sisu_pipeline/domain/canonical.py"
    pure = gates.imports_beyond(*PURE_IMPORTS)
    assert breaches(in_place(PURE), pure, [canonical]) == []
    assert breaches(in_place((canonical,)), gates.imports_beyond(*PURE_IMPORTS, "hashlib", "hmac")) == []


def test_decisions_call_nothing_that_reaches_the_world_or_differs_between_processes() -> None:
    worldly = gates.calls_of(
        "open", "print", "input", "eval", "exec", "compile", "__import__", "hash", "id", "vars"
    )
    assert breaches(in_place(PURE), worldly) == []


def test_only_the_named_modules_start_processes() -> None:
    assert breaches(SOURCE, gates.process_starts, PROCESSES) == []


def test_steps_and_api_start_no_process() -> None:
    places = ("sisu_pipeline/steps/", "sisu_pipeline/api/", "sisu_pipeline/store/", "resources/planner/")
    inside = ["resources/sandbox/local/isolation/box_relay.py", "resources/planner/acp/playback_agent.py"]
    assert breaches(in_place(places), gates.process_starts, inside) == []


def test_each_queue_has_one_enqueue_site() -> None:
    assert breaches(SOURCE, gates.enqueues, ENQUEUE_SITES) == []
    sites = {(module.path, queue) for module in SOURCE for _, queue in gates.queue_names_enqueued(module)}
    assert sites == {
        ("sisu_pipeline/queueing/segment_queue.py", "QueueName.INTENT"),
        ("sisu_pipeline/queueing/fan_out.py", "QueueName.SANDBOX"),
        ("sisu_pipeline/queueing/question_queue.py", "QueueName.COMPILE"),
    }
    count = [line for module in SOURCE for line, _ in gates.queue_names_enqueued(module)]
    assert len(count) == len(sites)


def test_the_environment_has_one_reader() -> None:
    assert breaches(SOURCE, gates.environment_reads, ENVIRONMENT) == []


def test_native_code_stays_in_its_places() -> None:
    assert breaches(SOURCE, gates.native_code, NATIVE) == []


def test_one_function_writes_a_status_one_statement_calls_it_and_one_module_uses_that() -> None:
    migrations = {script.name: script.text for script in sql.migrations()}
    assert sql_gates.status_writers(migrations) == ["0017_move_run", "0075_run_history"]  # one replaces the other
    assert sql_gates.status_writers(_statements()) == []
    assert sql_gates.callers(_statements(), "app.move_run") == ["runs.move"]
    assert breaches(SOURCE, gates.mentions_of("runs.move"), ["sisu_pipeline/store/runs.py"]) == []


def test_the_engines_schema_is_changed_by_the_hand_over_of_waiting_work_alone() -> None:
    texts = {path.name: path.read_text() for path in (gates.ROOT / "sql").rglob("*.sql")}
    changes = {name: sql_gates.engine_schema_changes(text) for name, text in texts.items()}
    assert {name: len(found) for name, found in changes.items() if found} == {"versions.sql": 1}
    assert sql_gates.engine_schema_changes(sql.query("versions.hand_over")) != []
    assert "SET application_version = waiting.successor\n" in sql.query("versions.hand_over")


def test_sql_is_loaded_from_files_never_assembled() -> None:
    assert breaches(SOURCE, gates.sql_in_python, SQL_IN_PYTHON) == []
    assert breaches(SOURCE, gates.built_where_executed) == []


def test_every_statement_says_what_it_is_for() -> None:
    assert [name for name, text in _statements().items() if not text.startswith("-- ")] == []
    for script in (*sql.migrations(), *sql.oracle()):
        assert script.purpose, script.name


def test_every_statement_is_used_and_every_statement_that_is_used_exists() -> None:
    statements = set(_statements())
    files = "|".join(sorted({name.split(".")[0] for name in statements}))
    name = re.compile(rf"({files})\.(?!sql$|py$)[a-z_]+")
    used = {text for module in SOURCE for _, text in gates.texts(module) if name.fullmatch(text)}
    assert sorted(used - statements) == []
    assert sorted(statements - used) == []


@pytest.mark.parametrize("allowed", [CLOCKS, PROCESSES, NATIVE, ENVIRONMENT, FAMILIES, SQL_IN_PYTHON])
def test_every_exception_gives_its_reason(allowed: dict[str, str]) -> None:
    assert all(reason.strip() for reason in allowed.values())


@pytest.mark.parametrize(
    ("allowed", "finder"),
    [
        (CLOCKS, gates.clock_or_randomness),
        (PROCESSES, gates.process_starts),
        (NATIVE, gates.native_code),
        (ENVIRONMENT, gates.environment_reads),
        (FAMILIES, gates.exception_families),
        (SQL_IN_PYTHON, gates.sql_in_python),
    ],
)
def test_every_exception_is_needed(allowed: dict[str, str], finder: Finder) -> None:
    assert [place for place in allowed if not breaches(in_place((place,)), finder)] == []


def _statements() -> dict[str, str]:
    files = sorted((gates.ROOT / "sql" / "queries").glob("*.sql"))
    names = ((file.stem, name) for file in files for name in re.findall(r"^-- (\w+) --$", file.read_text(), re.M))
    return {f"{file}.{name}": sql.query(f"{file}.{name}") for file, name in names}


def test_a_folder_has_at_most_fifteen_modules() -> None:
    paths = [PurePosixPath(module.path) for module in SOURCE]
    modules = Counter(str(path.parent) for path in paths if path.name != "__init__.py")
    assert {folder: count for folder, count in modules.items() if count > 15} == {}
