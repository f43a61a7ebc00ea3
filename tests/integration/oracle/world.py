"""A small correct world for the oracle: one run per way a run can stand, made by the real steps and stores."""

import asyncio
import itertools
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from resources.database import Connection, Database
from resources.sandbox.mock_provider import MockSandbox
from resources.sandbox.receipts import Receipt, ReceiptState
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.sandbox_request import SandboxResult
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.identity import segment_workflow_id
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.queueing import task_runner
from sisu_pipeline.steps.execute import Task
from sisu_pipeline.store import change_requests, gates, intents, plan_questions, tasks
from sisu_pipeline.store.outputs import run_setups
from sisu_pipeline.store.outputs.artifacts import INLINE_LIMIT
from sisu_pipeline.store.outputs.run_setups import UsedSetup
from sisu_pipeline.store.plan_questions import Session
from sisu_pipeline.store.rules.decisions import PlanDecision
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import (
    ownership,
    run_failure,
    run_push,
    step_execution,
    task_planning,
)
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.planning import agent_plans, plan_rounds
from sql import query
from tests.builders import a_run, an_intent, new_recipe
from tests.integration.git.repositories import git

FILES = {
    "app.py": "print('hi')\n",
    "tests/test_app.py": "def test(): pass\n",
    "old name": 'é\t"\n',
    "gone": "gone\n",
    "tool": "true\n",
    "moved and changed": "one\n",
}
PATCHES = [
    {"targetPath": "app.py", "postimageContent": "print('hé \"you\"')\n", "diffText": "-hi\n+you\n"},
    {"targetPath": "new.py", "postimageContent": "x = 1\n", "diffText": "+x = 1\n"},
]
CHANGES = [
    *PATCHES,
    {"targetPath": "gone", "op": "delete"},
    {"targetPath": 'é "name"', "op": "rename", "fromPath": "old name"},
    {"targetPath": "tool", "op": "modify", "mode": "100755"},
    {"targetPath": "new tool", "op": "create", "postimageContent": "true\n", "mode": "100755"},
    {"targetPath": "data", "contentBase64": "//4A"},
    {
        "targetPath": "moved",
        "op": "rename",
        "fromPath": "moved and changed",
        "contentBase64": "//4B",
        "mode": "100755",
    },
]
"""Patches of every operation, for the files above."""
# Text that is easy to hash wrongly: quotes, escapes, control characters, planes beyond the first, a repeat.
TESTS = ["unit", 'say "hi" \\ \t\x01\x7f', "é \U0001f600", "unit"]
SETUP = {"prepare": 'make "é"', "lockFiles": ["tool", "app.py"]}
FROM_COMMIT: dict[str, str | bytes] = {"app.py": "print('hi')\n", "gone": b"\0\xff", "src/é": "x\n"}
"""Files of a commit that a run starts from."""
BUDGET = {
    "maxFanout": 2,
    "maxSBXMinutes": 5,
    "maxArtifactsMB": 5,
    "maxRetriesPerStep": 0,
    "maxWallClockMS": 60_000,
}
FINISHED, ENQUEUED, EXECUTING = "SUCCESS", "ENQUEUED", "PENDING"

FAILED = Session(
    agent="opencode acp",
    model="m",
    agent_name="OpenCode",
    agent_version="1",
    session_id=None,
    stop_reasons=[],
    response="",
    tool_calls={},
    model_calls=0,
    uncounted_calls=0,
    input_tokens=0,
    output_tokens=0,
    cost_usd=Decimal(0),
    peak_mb=1,
    durations_ms={},
    transcript={"frames": []},
    error={"code": "agent_ended", "message": "the agent ended"},
)
_CHANGES = [
    {"op": "modify", "oldSha256": sha256_hex(FILES["app.py"]), "postimageContent": "1\n", "targetPath": "app.py"}
]
ANSWERED = replace(
    FAILED,
    input_tokens=1000,
    output_tokens=50,
    cost_usd=Decimal("0.5"),
    error=None,
    structured={
        "design": ["d"],
        "files": ["app.py"],
        "risks": [],
        "tests": ["t"],
        "testCommand": "true",
        "patchPlan": _CHANGES,
    },
    changes=_CHANGES,
)

_ADD_WORKFLOW = """
INSERT INTO dbos.workflow_status (
    workflow_uuid, status, name, queue_name, queue_partition_key, application_version, priority,
    created_at, updated_at)
VALUES (%(id)s, %(status)s, 'any', %(queue)s, %(partition)s, 'v1', 1, 0, 0)
"""

_REGISTER_TEMPLATE = """
INSERT INTO app.sbx_templates (recipe_id, recipe_version, deps_hash, template_key, template_id)
SELECT id, version, hash, id || ':' || version || ':' || hash, 'prebuilt' FROM app.recipes
WHERE name = 'control-default'
"""


class RowReceipts:
    """The mock provider's receipts, by the statement the real ones use."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self, receipt: Receipt) -> ReceiptState:
        """See `Receipts.start`."""
        columns = {
            "receipt_key": [receipt.key],
            "run_id": [receipt.run_id],
            "step_id": [receipt.step_id],
            "payload_hash": [receipt.payload_hash],
            "idempotency_key": [receipt.idempotency_key],
            "attempt": [receipt.attempt],
            "duration_ms": [receipt.duration_ms],
        }
        with self._database.connect() as connection:
            row = connection.execute(query("receipts.start"), columns).fetchone()
        assert row is not None
        del row["receipt_key"]
        return ReceiptState(**row)


@dataclass
class World:
    """The runs by the name of how they stand: `ids` has each one's run id, and workflow id as `<name>_intent`."""

    dependencies: Dependencies
    ids: dict[str, str] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def start(self, name: str, *, request: dict[str, Any] | None = None, **inputs: Any) -> Run:
        """A queued run of an intent with these inputs."""
        with self.dependencies.database.connect() as connection:
            run = a_run(connection, an_intent(name, inputs=inputs), **(request or {}))
        self.ids |= {name: run.id, f"{name}_intent": run.workflow_id}
        return run

    def plan(self, run: Run) -> None:
        """CompileST and ApplyPatchST, in a Dagster run of its own."""
        ownership.enter(self.dependencies.database, run.workflow_id, f"dagster-{next(self._numbers)}")
        self.commit_plan(run)

    def commit_plan(self, run: Run) -> None:
        """CompileST and ApplyPatchST of a run that has an owner."""
        for step in (step_execution.compile_intent, step_execution.apply_patches):
            result = step(self.dependencies, run.workflow_id)
            assert result is not None
            step_execution.commit(self.dependencies, run.workflow_id, result)

    def suspend(self, run: Run) -> None:
        """Let go at the gate: the first segment has ended."""
        assert ownership.suspend(self.dependencies.database, run.workflow_id)

    def decide(self, run: Run, decision: Decision = Decision.APPROVED) -> None:
        """A person decides about the plan the gate shows."""
        with self.dependencies.database.connect() as connection:
            seen = gates.plan_hash(connection, run.id)
            gates.decide(connection, PlanDecision(run.id, decision, "ann", "as discussed", seen))

    def go_on(self, run: Run) -> None:
        """DecideST, in the segment after the gate."""
        with self.dependencies.database.connect() as connection:
            owner = connection.execute("SELECT dagster_run_id FROM app.runs WHERE id = %s", [run.id]).fetchone()
        assert owner is not None
        ownership.enter(self.dependencies.database, run.workflow_id, owner["dagster_run_id"])
        result = step_execution.decide_plan(self.dependencies, run.workflow_id)
        assert result is not None
        step_execution.commit(self.dependencies, run.workflow_id, result)

    def execute(self, run: Run) -> None:
        """ExecuteST: every task on the mock provider, then the merge."""
        for task in task_planning.plan_tasks(self.dependencies, run.workflow_id):
            asyncio.run(self._run(run, task))
        result = step_execution.collect(self.dependencies, run.workflow_id)
        step_execution.commit(self.dependencies, run.workflow_id, result)
        step_execution.finish(self.dependencies, run.workflow_id, result)

    async def _run(self, run: Run, task: Task) -> SandboxResult:
        async def count(run_id: str, task_key: str) -> int:
            with self.dependencies.database.connect() as connection:
                return tasks.tries_of(connection, [(run_id, task_key)])[task_key]

        async def store_try(failed: tasks.Try) -> None:
            with self.dependencies.database.connect() as connection:
                tasks.store_tries(connection, [failed])

        async def store_outcome(outcome: tasks.Outcome) -> None:
            with self.dependencies.database.connect() as connection:
                tasks.store_outcomes(connection, [outcome], self.dependencies.blobs)

        async def record_setup(run_id: str, used: UsedSetup) -> None:
            with self.dependencies.database.connect() as connection:
                run_setups.record(connection, run_id, used)

        store = task_runner.TaskStore(count, store_try, store_outcome, record_setup)
        sandbox = MockSandbox(RowReceipts(self.dependencies.database))
        return await task_runner.run_task(sandbox, store, run.id, task, lambda chunk: None)


def build(dependencies: Dependencies, project: Path) -> World:
    """Runs that stand in every way a run can, and what DBOS would hold about them."""
    world = World(dependencies)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_runner, "FIRST_BACKOFF_S", 0)
        _succeeded(world)
        _failed(world)
        _unfinished(world)
        _revised(world)
        _asked(world)
        _from_commit(world, project)
        _pushed(world, project)
    with dependencies.database.connect() as connection:
        _queue_rows(connection)
    return world


def add_workflow(connection: Connection, workflow_id: str, status: str, queue: str, partition: str) -> None:
    """A row of DBOS' own table."""
    connection.execute(_ADD_WORKFLOW, {"id": workflow_id, "status": status, "queue": queue, "partition": partition})


def _succeeded(world: World) -> None:
    inputs = {"tests": TESTS, "testCommand": "sh -c", "files": FILES, "patches": CHANGES}
    with world.dependencies.database.connect() as connection:
        connection.execute(_REGISTER_TEMPLATE)
    for name, request, more in (
        ("succeeded", {"recipeName": "sandbox-default"}, inputs),
        ("alone", {}, {}),
        ("flaky", {}, {"testCommand": "FLAKY_INFRA_FAIL"}),
        ("budgeted", {"budget": BUDGET}, {"tests": ["a", "b"]}),
        ("large", {}, {"testCommand": "echo " + "x" * INLINE_LIMIT}),
        ("hot", {"recipeName": "control-default"}, {"files": FILES}),
        ("prepared", {}, {"files": FILES, "tests": ["a", "b"], "setup": SETUP}),
    ):
        run = world.start(name, request=request, **more)
        world.plan(run)
        world.suspend(run)
        world.decide(run)
        world.go_on(run)
        world.execute(run)


def _from_commit(world: World, project: Path) -> None:
    patches = [*PATCHES, {"targetPath": "gone", "op": "delete"}]
    run = world.start("from_commit", repo={"path": str(project), "ref": "main"}, patches=patches, tests=TESTS)
    world.plan(run)
    world.suspend(run)
    world.decide(run)
    world.go_on(run)
    world.execute(run)


def _pushed(world: World, project: Path) -> None:
    """Runs whose branches are pushed: one to its repository, and one to a branch that exists."""
    with world.dependencies.database.connect() as connection:
        new_recipe(connection, "pushing", push={"remote": "origin"})
    for name in ("pushed", "unpushed"):
        repo = {"path": str(project), "ref": "main", "subdirectory": "src"}
        patches = [{"targetPath": "é", "postimageContent": "y\n"}, {"targetPath": "new", "postimageContent": ""}]
        run = world.start(name, request={"recipeName": "pushing"}, repo=repo, patches=patches)
        if name == "unpushed":
            git(project, "branch", f"sisu/{run.id}")
        world.plan(run)
        world.suspend(run)
        world.decide(run)
        world.go_on(run)
        world.execute(run)
    assert run_push.push_due(world.dependencies) == 2


def _failed(world: World) -> None:
    # The last one was approved early: nothing suspended.
    for name, command in (("broken", "FAIL_ME"), ("gave_up", "INFRA_FAIL"), ("slow", "TIMEOUT_ME")):
        run = world.start(name, testCommand=command, files=FILES, patches=CHANGES)
        if name == "slow":
            world.decide(run)
        world.plan(run)
        if name != "slow":
            world.suspend(run)
            world.decide(run)
        world.go_on(run)
        with pytest.raises(step_execution.SandboxExecutionFailed):
            world.execute(run)
    rejected = world.start("rejected", patches=PATCHES)
    world.plan(rejected)
    world.suspend(rejected)
    world.decide(rejected, Decision.REJECTED)
    with pytest.raises(step_execution.PlanRejected):
        world.go_on(rejected)


def _unfinished(world: World) -> None:
    canceled = world.start("canceled", patches=PATCHES)
    world.plan(canceled)
    run_failure.end_run(world.dependencies, canceled.id, RunStatus.CANCELED, "canceled by ann")
    waiting = world.start("waiting")
    world.plan(waiting)
    world.suspend(waiting)
    decided = world.start("decided", patches=PATCHES)
    world.plan(decided)
    world.suspend(decided)
    world.decide(decided)
    world.go_on(decided)
    world.start("queued")


def revise(world: World, run: Run, *sessions: Session) -> None:
    """One round of changes per session: a person requests them, and the session settles the question."""
    for session in sessions:
        request_changes(world, run)
        with world.dependencies.database.connect() as connection:
            last = change_requests.of_run(connection, run.id)[-1].round
            question = plan_questions.of_round(connection, run.id, last)
            intent = intents.get(connection, run.intent_id)
        assert question is not None
        checked, plan = plan_rounds.checked(world.dependencies, run, intent, session)
        with world.dependencies.database.connect() as connection:
            assert plan_rounds.settle(world.dependencies, connection, question, 1, checked, plan, is_final=True)


def request_changes(world: World, run: Run, comment: str = "another way") -> None:
    """A person requests changes to the plan of a run, which an agent plans."""
    asking = replace(world.dependencies, asks_agent=True)
    with world.dependencies.database.connect() as connection:
        plan_rounds.request(asking, connection, plan_rounds.WantedChanges(run.id, "ann", comment))


def _revised(world: World) -> None:
    """Runs whose plans people requested changes to: one executed, one in its second round."""
    run = world.start("revised", files=FILES, patches=PATCHES)
    world.plan(run)
    world.suspend(run)
    revise(world, run, FAILED, ANSWERED)
    world.decide(run)
    world.go_on(run)
    world.execute(run)
    run = world.start("revising", files=FILES)
    world.plan(run)
    world.suspend(run)
    revise(world, run, ANSWERED)
    # Another comment: the same one would be a repetition.
    request_changes(world, run, "yet another way")


def _asked(world: World) -> None:
    """Runs whose plans an agent makes: one with a plan, one without an answer, one whose question was given up."""
    for name in ("planned", "asking", "unplanned"):
        run = world.start(name, files=FILES)
        world.dependencies = replace(world.dependencies, asks_agent=True)
        ownership.enter(world.dependencies.database, run.workflow_id, f"dagster-{name}")
        asked = agent_plans.ask(world.dependencies, run.workflow_id)
        assert asked is not None
        world.suspend(run)
        if name == "asking":
            continue
        for number, session in enumerate((FAILED, ANSWERED if name == "planned" else FAILED), 1):
            with world.dependencies.database.connect() as connection:
                blobs = world.dependencies.blobs
                plan_questions.store(connection, asked[1], number, session, is_final=number == 2, blobs=blobs)
        ownership.enter(world.dependencies.database, run.workflow_id, f"dagster-{name}")
        if name == "planned":
            world.commit_plan(run)
            world.suspend(run)
        else:
            with pytest.raises(agent_plans.PlanningFailed):
                step_execution.compile_intent(world.dependencies, run.workflow_id)
    world.dependencies = replace(world.dependencies, asks_agent=False)


def _queue_rows(connection: Connection) -> None:
    for run in connection.execute("SELECT * FROM app.runs WHERE status <> 'queued'").fetchall():
        segments = range(1, run["segment"] + (run["status"] != "waiting_input"))
        for segment in segments:
            is_now = run["status"] == "running" and segment == run["segment"]
            identifier = segment_workflow_id(run["workflow_id"], segment)
            status = EXECUTING if is_now else FINISHED
            add_workflow(connection, identifier, status, "intentQ", run["queue_partition_key"])
        for task in connection.execute("SELECT task_key FROM app.sbx_runs WHERE run_id = %s", [run["id"]]):
            add_workflow(connection, task["task_key"], FINISHED, "sbxQ", run["queue_partition_key"])
    for question in connection.execute(
        "SELECT op_key, status FROM app.plan_questions JOIN app.runs ON id = run_id"
    ):
        status = ENQUEUED if question["status"] == "waiting_input" else FINISHED
        add_workflow(connection, question["op_key"], status, "compileQ", "team-a")
    add_workflow(connection, "job/0b5f", FINISHED, "intentQ", "control")
