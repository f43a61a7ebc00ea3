"""Versions of plans: version 1 is compiled, people and agents make the later ones; the newest one is executed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.contracts.gate import Channel
from sisu_pipeline.contracts.planned_work import (
    CompletePlan,
    PinnedVersion,
    PlanBase,
    PlannedSetup,
    PlannedTask,
    PlanPush,
)
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.canonical import sha256_hex, sha256_json
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.changes.plan_changes import completed
from sisu_pipeline.domain.complete_plan import PlannedTasks, PlanTerms, SealedPlan, TaskTerms, seal
from sisu_pipeline.domain.errors import DeterminismBreach, NotFound
from sisu_pipeline.store import bases, intents
from sisu_pipeline.store.records import execute, fetch_all, fetch_first, fetch_one, fetch_value
from sisu_pipeline.store.runs import Run

_NO_FILES: Mapping[str, FileState | None] = {}


@dataclass(frozen=True)
class Version:
    """A version of a run's plan."""

    number: int
    plan: dict[str, Any]
    sha256: str

    @property
    def is_edited(self) -> bool:
        """True when the compiled plan was edited."""
        return self.number > 1

    def read(self) -> Plan:
        """The plan, validated against its contract."""
        return Plan.from_json(self.plan)


@dataclass(frozen=True)
class Edit:
    """A version after the first one, without its content; `based_on_sha256` is the hash of the version before it.

    A version that a coding agent made has the round of the request for changes.
    """

    version: int
    plan_sha256: str
    based_on_sha256: str
    edited_by: str
    round: int | None
    created_at: datetime


@dataclass(frozen=True)
class DescribedEdit(Edit):
    """A version with what led to it: for an edit all None, else who requested which changes, and who made them.

    Agent and model are None when the answer was recorded in a fixture.
    """

    requested_by: str | None
    comment: str | None
    agent: str | None
    model: str | None


@dataclass(frozen=True)
class Author:
    """Who made a version, by which channel; `round` is that of the request for changes that an agent follows."""

    name: str
    channel: Channel
    round: int | None = None


@dataclass(frozen=True)
class _StoredTerms:
    task: dict[str, Any]
    tasks_sha256: str
    recipe: str
    policy: str
    base: str
    push: str | None
    setup: str | None


@dataclass(frozen=True)
class _CurrentPlan:
    version: int
    plan: dict[str, Any]
    plan_sha256: str | None


def current(connection: Connection, run_id: str) -> Version:
    """The newest version of a run's plan. Raises NotFound before CompileST has compiled one."""
    version = find(connection, run_id)
    if version is None:
        raise NotFound("the run has no plan yet")
    return version


def find(connection: Connection, run_id: str) -> Version | None:
    """The newest version of a run's plan; None before CompileST has compiled one."""
    stored = fetch_first(connection, "plans.current", _CurrentPlan, {"run_id": run_id})
    if stored is None:
        return None
    return Version(stored.version, stored.plan, stored.plan_sha256 or sha256_json(stored.plan))


def policy_of(run: Run) -> PinnedVersion:
    """The policy that decides who must approve a run's plan."""
    return PinnedVersion(id=run.policy_id, version=run.policy_version, sha256=run.policy_sha256)


def store_sealed(connection: Connection, run_id: str, version: int, sealed: SealedPlan) -> None:
    """Store the complete plan of a version, once. Raises DeterminismBreach when another one is stored."""
    row = {"run_id": run_id, "version": version, "plan_sha256": sealed.sha256, "head": sealed.head, **vars(sealed)}
    if execute(connection, "plans.insert_sealed", row):
        return
    if fetch_value(connection, "plans.sealed_hash", row) != sealed.sha256:
        raise DeterminismBreach(f"version {version} of the plan of {run_id} is stored with other content")


def complete(connection: Connection, run_id: str, version: int) -> CompletePlan | None:
    """The complete plan of a version; None when a release before 0.3 compiled it."""
    sealed = fetch_first(connection, "plans.sealed", SealedPlan, {"run_id": run_id, "version": version})
    return None if sealed is None else sealed.read()


def changes_sha256(connection: Connection, run_id: str, version: Version) -> str:
    """The hash of the changes section of a version's complete plan. Raises NotFound when there is none."""
    values = {"run_id": run_id, "version": version.number}
    digest: str | None = fetch_value(connection, "plans.changes_hash", values)
    if digest is None:
        raise NotFound("the run has no complete plan")
    return digest


def setup(connection: Connection, run_id: str, version: Version) -> PlannedSetup | None:
    """The setup of a version's complete plan; None without one."""
    values = {"run_id": run_id, "version": version.number}
    text: str | None = fetch_value(connection, "plans.setup", values)
    return _read_setup(text)


def planned_tasks(connection: Connection, run_id: str, version: Version) -> PlannedTasks | None:
    """The tasks of a plan, as they were approved; None when a release before 0.3 compiled it.

    Raises DeterminismBreach when they do not hash to the plan's head.
    """
    stored = fetch_first(connection, "plans.terms", _StoredTerms, {"run_id": run_id, "version": version.number})
    if stored is None:
        if version.is_edited and complete(connection, run_id, 1) is not None:
            raise DeterminismBreach(f"version {version.number} of the plan of {run_id} is stored without its tasks")
        return None
    plan = version.read()
    assert plan.test_command is not None, "a plan with stored tasks names its command"
    terms = TaskTerms.of(PlannedTask.from_json(stored.task))
    for quotes_tests in (True, False):
        tasks = PlannedTasks.of(plan.test_command, plan.tests, terms, quotes_tests=quotes_tests)
        if sha256_hex(tasks.section) == stored.tasks_sha256:
            return tasks
    raise DeterminismBreach(f"the tasks of the plan of {run_id} do not hash to {stored.tasks_sha256}")


def edited(
    connection: Connection, run: Run, plan: Plan, more_files: Mapping[str, FileState | None] = _NO_FILES
) -> tuple[Plan, SealedPlan | None]:
    """A later version of a run's plan, completed: its patches, the command unless it has one, its complete plan.

    `more_files` are files of the run's commit that are not stored yet. Terms that no version changes (provider,
    limits, recipe, policy) are those of the compiled plan. The complete plan is None when a release before 0.3
    compiled that one. Raises ChangeInvalid or PatchOutdated.
    """
    intent = intents.get(connection, run.intent_id)
    bases.check_edit(connection, run.id, intent, plan, more_files.keys())
    given = {path: state for path, state in more_files.items() if state is not None}
    files = {**bases.files(connection, run.id, intent), **given}
    with_patches = completed(plan, files)
    stored = fetch_first(connection, "plans.terms", _StoredTerms, {"run_id": run.id, "version": 1})
    if stored is None:
        return plan, None
    plan = with_patches
    if plan.test_command is None:
        compiled = fetch_value(connection, "plans.compiled_command", {"run_id": run.id})
        plan = plan.model_copy(update={"test_command": compiled})
    terms = PlanTerms(
        TaskTerms.of(PlannedTask.from_json(stored.task)),
        PinnedVersion.model_validate_json(stored.recipe),
        PinnedVersion.model_validate_json(stored.policy),
        base if (base := PlanBase.model_validate_json(stored.base)).commit is not None else None,
        None if stored.push is None else PlanPush.model_validate_json(stored.push),
        _read_setup(stored.setup),
    )
    return plan, seal(plan, files, terms)


def edited_hash_of(connection: Connection, run: Run, plan: Plan, more_files: Mapping[str, FileState | None]) -> str:
    """The hash that a person's version of a run's plan has once it is stored."""
    plan, sealed = edited(connection, run, plan, more_files)
    return sha256_json(plan.to_json()) if sealed is None else sealed.sha256


def edited_hash(connection: Connection, run_id: str) -> str | None:
    """The hash of the newest edited version; None if the compiled plan was never edited."""
    digest: str | None = fetch_value(connection, "plans.edited_hash", {"run_id": run_id})
    return digest


def add(
    connection: Connection,
    run_id: str,
    plan: Plan,
    sealed: SealedPlan | None,
    based_on: str,
    author: Author,
) -> Version:
    """Store a changed plan as the next version; `based_on` is the hash of the version it was made of."""
    content = plan.to_json()
    stored = fetch_one(
        connection,
        "plans.insert",
        Edit,
        {
            "run_id": run_id,
            "plan": Jsonb(content),
            "plan_sha256": sha256_json(content) if sealed is None else sealed.sha256,
            "based_on_sha256": based_on,
            "edited_by": author.name,
            "channel": author.channel,
            "round": author.round,
        },
    )
    if sealed is not None:
        store_sealed(connection, run_id, stored.version, sealed)
    return Version(stored.version, content, stored.plan_sha256)


def edits(connection: Connection, run_id: str) -> list[DescribedEdit]:
    """The versions after the compiled one, in order."""
    return fetch_all(connection, "plans.edits", DescribedEdit, {"run_id": run_id})


def _read_setup(text: str | None) -> PlannedSetup | None:
    return None if text is None else PlannedSetup.model_validate_json(text)
