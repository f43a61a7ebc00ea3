"""The complete plan: all that is executed once the plan is approved, and the hash that approvals name.

`planSha256` is the sha256 of the canonical JSON of the head `{v, changes, tasks, recipe, policy, base}`, in which
each section stands as the sha256 of its own canonical JSON. A plan with a push also has a section `push`, one
with a setup a section `setup`. Content of files is never part of it, only its hashes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

from sisu_pipeline.contracts.planned_work import (
    ChangeOp,
    CompletePlan,
    FileHashes,
    PinnedVersion,
    PlanBase,
    PlannedChange,
    PlannedSetup,
    PlannedTask,
    PlanPush,
    TemplateReference,
)
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.canonical import canonical_json, git_blob_id, sha256_hex, sha256_json
from sisu_pipeline.domain.changes.command_lines import command_error, command_line
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.changes.plan_changes import Files, files_after
from sisu_pipeline.domain.errors import CommandTooLong

VERSION = 1
_SECTIONS = ("changes", "tasks", "recipe", "policy", "base", "push", "setup")


@dataclass(frozen=True)
class TaskTerms:
    """What all tasks of a plan have in common: the provider, the template and the limits of their sandboxes."""

    provider: str
    environment: str
    template: TemplateReference
    net: bool
    timeout_ms: int
    cpu: int = 1
    mem_mb: int = 512

    @classmethod
    def of(cls, task: PlannedTask) -> "TaskTerms":
        """The terms of a planned task."""
        return cls(task.provider, task.environment, task.template, task.net, task.timeout_ms, task.cpu, task.mem_mb)


@dataclass(frozen=True)
class PlannedTasks(Sequence[PlannedTask]):
    """The tasks of a plan in order, built on access: one per distinct test, or one for the command alone."""

    command: str
    tests: tuple[str | None, ...]
    terms: TaskTerms
    quotes_tests: bool = True
    """False for plans of earlier releases, which appended the name of a test as shell text."""

    @classmethod
    def of(
        cls, command: str, tests: Sequence[str], terms: TaskTerms, *, quotes_tests: bool = True
    ) -> "PlannedTasks":
        """The tasks of a command and its tests. A repeated test is one task, at its first place."""
        return cls(command, tuple(dict.fromkeys(tests)) or (None,), terms, quotes_tests)

    def __len__(self) -> int:
        return len(self.tests)

    @overload
    def __getitem__(self, place: int) -> PlannedTask: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[PlannedTask, ...]: ...

    def __getitem__(self, place: int | slice) -> PlannedTask | tuple[PlannedTask, ...]:
        if isinstance(place, slice):
            return tuple(self._task(position) for position in range(*place.indices(len(self))))
        return self._task(range(len(self))[place])

    @property
    def section(self) -> str:
        """The canonical JSON of the tasks."""
        common = self._task(0).to_json()
        return canonical_json(
            [
                {**common, "position": position, "test": test, "command": self._command(test)}
                for position, test in enumerate(self.tests)
            ]
        )

    def _command(self, test: str | None) -> str:
        if test is None:
            return self.command
        return command_line(self.command, test) if self.quotes_tests else f"{self.command} {test}"

    def _task(self, position: int) -> PlannedTask:
        test = self.tests[position]
        return PlannedTask(
            position=position,
            test=test,
            command=self._command(test),
            provider=self.terms.provider,
            environment=self.terms.environment,
            template=self.terms.template,
            net=self.terms.net,
            timeout_ms=self.terms.timeout_ms,
            cpu=self.terms.cpu,
            mem_mb=self.terms.mem_mb,
        )


@dataclass(frozen=True)
class SealedPlan:
    """A complete plan as it is stored: the canonical JSON of each section, exactly the text that is hashed."""

    changes: str
    tasks: str
    recipe: str
    policy: str
    base: str
    push: str | None = None
    """Absent from the head and the text unless there is a push, so that other plans keep their hash."""
    setup: str | None = None
    """Absent likewise unless there is a setup."""

    @property
    def head(self) -> str:
        """The canonical JSON of the head."""
        hashes = {name: sha256_hex(section) for name, section in self._sections.items()}
        return canonical_json({"v": VERSION, **hashes})

    @property
    def sha256(self) -> str:
        """The plan's hash, which approvals name."""
        return sha256_hex(self.head)

    @property
    def text(self) -> str:
        """The JSON of the head and the sections."""
        parts = {"head": self.head, **self._sections}
        members = ",".join(f'"{name}":{section}' for name, section in parts.items())
        return f"{{{members}}}"

    def read(self) -> CompletePlan:
        """The sections as models."""
        return CompletePlan.model_validate_json(self.text)

    @property
    def _sections(self) -> dict[str, str]:
        sections = {name: getattr(self, name) for name in _SECTIONS}
        return {name: section for name, section in sections.items() if section is not None}


@dataclass(frozen=True)
class PlanTerms:
    """What a complete plan takes from outside the plan: the terms of its tasks, the recipe and the policy."""

    tasks: TaskTerms
    recipe: PinnedVersion
    policy: PinnedVersion
    base: PlanBase | None = None
    """The base of a plan for a repository; without one, the base is the files."""
    push: PlanPush | None = None
    """Where the result is pushed."""
    setup: PlannedSetup | None = None


def seal(plan: Plan, files: Files, terms: PlanTerms) -> SealedPlan:
    """The complete plan of a plan that names its command. `files` are those that the plan starts from.

    Raises CommandTooLong.
    """
    assert plan.test_command is not None, "a compiled plan names its command"
    if (error := command_error(plan.test_command, plan.tests)) is not None:
        raise CommandTooLong(error)
    base = terms.base or PlanBase(commit=None, files_sha256=files_sha256(files))
    return SealedPlan(
        changes=canonical_json([change.to_json() for change in changes(files, files_after(plan, files))]),
        tasks=PlannedTasks.of(plan.test_command, plan.tests, terms.tasks).section,
        recipe=canonical_json(terms.recipe.to_json()),
        policy=canonical_json(terms.policy.to_json()),
        base=canonical_json(base.to_json()),
        push=None if terms.push is None else canonical_json(terms.push.to_json()),
        setup=None if terms.setup is None else canonical_json(terms.setup.to_json()),
    )


def complete_plan_of(stored: Any) -> CompletePlan:
    """The complete plan of its JSON. Raises ValidationError."""
    return CompletePlan.from_json(stored)


def changes(before: Files, after: Files) -> list[PlannedChange]:
    """The files that differ, sorted by path. A renamed file is one that is deleted and one that is created."""
    return [
        _change(path, before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]


def files_sha256(files: Files) -> str:
    """The hash of a set of files: of the canonical JSON that maps each path to the sha256 of its bytes.

    The mode stands before the hash of an executable file, after a space.
    """
    return sha256_json({path: _named(state) for path, state in files.items()})


def _named(state: FileState) -> str:
    digest = sha256_hex(state.content)
    return digest if state.mode == "100644" else f"{state.mode} {digest}"


def _change(path: str, old: FileState | None, new: FileState | None) -> PlannedChange:
    op = ChangeOp.CREATE if old is None else ChangeOp.DELETE if new is None else ChangeOp.MODIFY
    return PlannedChange(
        path=path,
        op=op,
        old_mode=None if old is None else old.mode,
        mode=None if new is None else new.mode,
        old=_hashes(old),
        new=_hashes(new),
    )


def _hashes(state: FileState | None) -> FileHashes | None:
    if state is None:
        return None
    return FileHashes(sha256=sha256_hex(state.content), git_blob=git_blob_id(state.content))
