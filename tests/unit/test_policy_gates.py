"""The seed's policy gates: what our own source may not do, and the few places where it may (reference §O).

Every finder is proved on bad and good examples in `test_policy_gate_finders.py`. To extend an allow-list, write
the reason beside it.
"""

import ast
import re

import pytest

import sql
from tests import policy_gates as gates
from tests.policy_gates import Finder, Module, breaches

SOURCE = gates.project()

# Decisions: the same answer for the same question, whoever asks and whenever.
PURE = (
    "sisu_pipeline/steps/",
    "sisu_pipeline/contracts/",
    "sisu_pipeline/policy.py",
    "sisu_pipeline/identity.py",
    "sisu_pipeline/canonical.py",
    "sisu_pipeline/status.py",
)
PURE_IMPORTS = (
    "collections.abc",
    "dataclasses",
    "datetime.datetime",
    "decimal",
    "enum",
    "functools",
    "itertools",
    "json",
    "math",
    "re",
    "typing",
    "pydantic",
    *(place.removesuffix(".py").removesuffix("/").replace("/", ".") for place in PURE),
)

# What no engine may be seen from: the laws, the rows, the ports and the API.
ENGINE_FREE = (
    *PURE,
    "sisu_pipeline/api/",
    "sisu_pipeline/store/",
    "sisu_pipeline/commands.py",
    "sisu_pipeline/ending.py",
    "sisu_pipeline/execution.py",
    "sisu_pipeline/patching.py",
    "sisu_pipeline/workspace.py",
    "sisu_pipeline/services.py",
    "sisu_pipeline/settings.py",
    "sisu_pipeline/task_runner.py",
    "resources/",
    "sql/",
)

CLOCKS = {
    "resources/listening.py": "waits for a notification until a deadline",
    "resources/sandbox/": "measures how long a command ran; a result's metrics are evidence, never identity",
    "sensors/": "a tick may take only so long",
    "sisu_pipeline/api/events.py": "a stream sends a heartbeat",
    "sisu_pipeline/bench/": "measures",
    "sisu_pipeline/cli/": "shows people how long something takes",
    "sisu_pipeline/claims.py": "judges how long its own claims stand by its own clock",
    "sisu_pipeline/labs/": "measures",
    "sisu_pipeline/queues.py": "keeps what DBOS read for a while",
    "sisu_pipeline/recovery.py": "judges a worker's silence by the observer's own clock",
    "sisu_pipeline/stack.py": "supervises processes: grace periods and restarts",
    "sisu_pipeline/task_board.py": "looks at the rows again after a while",
    "sisu_pipeline/worker.py": "a worker process gets an id of its own, and supervises its children",
}

PROCESSES = {
    "resources/database.py": "runs the bundled psql",
    "resources/sandbox/": "runs tasks",
    "sisu_pipeline/cli/": "becomes the process it was asked for",
    "sisu_pipeline/labs/": "starts and kills whole stacks",
    "sisu_pipeline/bench/": "starts whole stacks",
    "sisu_pipeline/stack.py": "starts the processes of `sisu start`",
    "sisu_pipeline/worker.py": "forks warm worker processes",
}

ENVIRONMENT = {
    "sisu_pipeline/settings.py": "the only reader",
    "resources/sandbox/local/probe.py": "runs inside the sandbox, and proves that nothing of ours got there",
}

DAGSTER = {
    "sensors/": "sensors",
    "sisu_pipeline/assets.py": "the lineage",
    "sisu_pipeline/checks.py": "the oracle as asset checks",
    "sisu_pipeline/coordinator.py": "the run coordinator",
    "sisu_pipeline/daemon.py": "the daemon's tick",
    "sisu_pipeline/definitions.py": "the code location",
    "sisu_pipeline/event_buffer.py": "writes Dagster's events in batches",
    "sisu_pipeline/executor.py": "the executor",
    "sisu_pipeline/failure_cause.py": "reads Dagster's log of a failed run",
    "sisu_pipeline/io_manager.py": "the IO manager",
    "sisu_pipeline/jobs.py": "the jobs of the UI",
    "sisu_pipeline/labs/": "watches Dagster from outside",
    "sisu_pipeline/bench/": "measures Dagster as it comes",
    "sisu_pipeline/cli/": "starts Dagster's own programs",
    "sisu_pipeline/launcher.py": "the run launcher",
    "sisu_pipeline/metadata.py": "what people read on a materialization",
    "sisu_pipeline/ops.py": "the four steps as ops",
    "sisu_pipeline/patience.py": "knows what Dagster's storage raises when its database is away",
    "sisu_pipeline/preparation.py": "makes Dagster's tables",
    "sisu_pipeline/retention.py": "retires old partitions",
    "sisu_pipeline/run_driver.py": "drives one Dagster run in a worker",
    "sisu_pipeline/segment_runner.py": "loads the Dagster run of a segment",
    "sisu_pipeline/stack.py": "starts Dagster's own programs",
    "sisu_pipeline/storage.py": "Dagster's storage on pooled connections",
    "sisu_pipeline/worker.py": "the worker's Dagster instance",
}

DBOS = {
    "sisu_pipeline/fan_out.py": "enqueues on sbxQ",
    "sisu_pipeline/labs/": "watches DBOS from outside",
    "sisu_pipeline/queues.py": "keeps what DBOS read for a while",
    "sisu_pipeline/recovery.py": "resumes what a dead worker held",
    "sisu_pipeline/segments.py": "enqueues on intentQ",
    "sisu_pipeline/task_worker.py": "the workflow on sbxQ",
    "sisu_pipeline/worker.py": "the worker process",
}

ENQUEUE_SITES = ("sisu_pipeline/segments.py", "sisu_pipeline/fan_out.py")

SQL_IN_PYTHON = {
    "resources/database.py": "names of databases and schemas are identifiers, which no parameter can be",
    "resources/listening.py": "so is a channel's name",
}


def in_place(place: tuple[str, ...]) -> list[Module]:
    return [module for module in SOURCE if gates.under(module.path, place)]


def test_clocks_and_randomness_stay_in_their_places() -> None:
    assert breaches(SOURCE, gates.clock_or_randomness, CLOCKS) == []


def test_no_decision_looks_at_a_clock() -> None:
    assert breaches(in_place(PURE), gates.clock_or_randomness) == []


def test_decisions_import_nothing_that_reaches_the_world() -> None:
    canonical = "sisu_pipeline/canonical.py"
    pure = gates.imports_beyond(*PURE_IMPORTS)
    assert breaches(in_place(PURE), pure, [canonical]) == []
    assert breaches(in_place((canonical,)), gates.imports_beyond(*PURE_IMPORTS, "hashlib", "hmac")) == []


def test_decisions_call_nothing_that_reaches_the_world_or_differs_between_processes() -> None:
    worldly = gates.calls_of(
        "open", "print", "input", "eval", "exec", "compile", "__import__", "hash", "id", "vars"
    )
    assert breaches(in_place(PURE), worldly) == []


def test_the_engines_are_seen_only_where_they_must_be() -> None:
    assert breaches(SOURCE, gates.imports_of("dagster", "dagster_postgres", "dagster_shared"), DAGSTER) == []
    assert breaches(SOURCE, gates.imports_of("dbos"), DBOS) == []


def test_laws_rows_ports_and_api_know_no_engine() -> None:
    engines = gates.imports_of("dagster", "dagster_postgres", "dagster_shared", "dbos")
    assert breaches(in_place(ENGINE_FREE), engines) == []


def test_the_api_never_reaches_what_executes_a_step() -> None:
    reached = gates.reach(SOURCE, lambda path: path.startswith("sisu_pipeline/api/"))
    executing = {
        "execution",
        "assets",
        "ops",
        "fan_out",
        "executor",
        "run_driver",
        "segment_runner",
        "task_service",
    }
    assert reached & {f"sisu_pipeline.{name}" for name in executing} == set()
    modules = [module for module in SOURCE if module.name in reached]
    assert breaches(modules, gates.imports_of("dagster", "dbos")) == []


def test_tasks_run_only_in_the_sandbox_package() -> None:
    assert breaches(SOURCE, gates.imports_of("e2b", "e2b_code_interpreter"), ["resources/sandbox/"]) == []
    assert breaches(SOURCE, gates.process_starts, PROCESSES) == []


def test_steps_and_api_start_no_process() -> None:
    places = ("sisu_pipeline/steps/", "sisu_pipeline/api/", "sisu_pipeline/store/", "resources/planner/")
    assert breaches(in_place(places), gates.process_starts) == []


def test_each_queue_has_one_enqueue_site() -> None:
    assert breaches(SOURCE, gates.enqueues, ENQUEUE_SITES) == []
    sites = {(module.path, queue) for module in SOURCE for _, queue in gates.queue_names_enqueued(module)}
    assert sites == {
        ("sisu_pipeline/segments.py", "QueueName.INTENT"),
        ("sisu_pipeline/fan_out.py", "QueueName.SANDBOX"),
    }
    count = [line for module in SOURCE for line, _ in gates.queue_names_enqueued(module)]
    assert len(count) == len(sites)


def test_the_environment_has_one_reader() -> None:
    assert breaches(SOURCE, gates.environment_reads, ENVIRONMENT) == []


def test_one_module_hashes() -> None:
    assert breaches(SOURCE, gates.imports_of("hashlib", "hmac", "_hashlib"), ["sisu_pipeline/canonical.py"]) == []


def test_one_statement_writes_a_status_and_one_module_uses_it() -> None:
    assert gates.status_writers(_statements()) == ["runs.move"]
    assert breaches(SOURCE, gates.mentions_of("runs.move"), ["sisu_pipeline/store/runs.py"]) == []


def test_the_engines_schema_is_never_changed() -> None:
    texts = {path.name: path.read_text() for path in (gates.ROOT / "sql").rglob("*.sql")}
    assert {name: found for name, text in texts.items() if (found := gates.engine_schema_changes(text))} == {}


def test_sql_is_loaded_from_files_never_assembled() -> None:
    assert breaches(SOURCE, gates.sql_in_python, SQL_IN_PYTHON) == []
    assert breaches(SOURCE, gates.built_where_executed) == []


def test_every_statement_says_what_it_is_for() -> None:
    assert [name for name, text in _statements().items() if not text.startswith("-- ")] == []
    for script in (*sql.migrations(), *sql.oracle()):
        assert script.purpose, script.name


def test_every_statement_a_module_names_exists() -> None:
    statements = set(_statements())
    files = "|".join(sorted({name.split(".")[0] for name in statements}))
    for module in SOURCE:
        for line, text in _constants(module):
            if re.fullmatch(rf"({files})\.[a-z_]+", text) and not text.endswith((".sql", ".py")):
                assert text in statements, f"{module.path}:{line} {text}"


@pytest.mark.parametrize("allowed", [CLOCKS, PROCESSES, ENVIRONMENT, SQL_IN_PYTHON])
def test_every_exception_gives_its_reason(allowed: dict[str, str]) -> None:
    assert all(reason.strip() for reason in allowed.values())


@pytest.mark.parametrize(
    ("allowed", "finder"),
    [
        (CLOCKS, gates.clock_or_randomness),
        (PROCESSES, gates.process_starts),
        (ENVIRONMENT, gates.environment_reads),
        (SQL_IN_PYTHON, gates.sql_in_python),
    ],
)
def test_an_exception_that_is_no_longer_needed_is_taken_off_the_list(
    allowed: dict[str, str], finder: Finder
) -> None:
    files = {module.path: module for module in SOURCE if module.path in allowed}
    assert [path for path, module in files.items() if not list(finder(module))] == []


def _statements() -> dict[str, str]:
    files = sorted((gates.ROOT / "sql" / "queries").glob("*.sql"))
    names = ((file.stem, name) for file in files for name in re.findall(r"^-- (\w+) --$", file.read_text(), re.M))
    return {f"{file}.{name}": sql.query(f"{file}.{name}") for file, name in names}


def _constants(module: Module) -> list[tuple[int, str]]:
    return [
        (node.lineno, node.value)
        for node in module.nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
