"""The sections of a complete plan: everything that is executed once it is approved, by hash where it is content."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from sisu_pipeline.contracts.base import Contract, absent
from sisu_pipeline.contracts.sandbox_request import Mode, Sha256

GitBlob = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class Section(Contract):
    """A part of a complete plan. Its JSON has one form: a member without a value is null unless noted."""

    def to_json(self) -> dict[str, Any]:
        """The JSON object that is hashed."""
        return self.model_dump(mode="json")


class ChangeOp(StrEnum):
    """The effect of a change on its file."""

    CREATE = "create"
    MODIFY = "modify"
    DELETE = "delete"


class FileHashes(Section):
    """The content of a file as two hashes."""

    sha256: Sha256
    """Hash of the file's bytes."""
    git_blob: GitBlob
    """Id that git gives the content (SHA-1)."""


class PlannedChange(Section):
    """The effect of a plan on one file."""

    path: str
    """Path of the file in the workspace."""
    op: ChangeOp
    """Effect on the file."""
    old_mode: Mode | None
    """Mode before the change; null if the plan creates the file."""
    mode: Mode | None
    """Mode after the change; null if the plan deletes the file."""
    old: FileHashes | None
    """Content before the change; null if the plan creates the file."""
    new: FileHashes | None
    """Content after the change; null if the plan deletes the file."""


class TemplateReference(Section):
    """The sandbox template of a task."""

    id: str | None
    """Id of the prebuilt template; null unless one is registered."""
    key: str
    """Key of the template: recipe, version and content hash."""


class PlannedTask(Section):
    """One task: its exact command line and everything its sandbox permits."""

    position: int = Field(ge=0)
    """Position of the task among the tasks of the plan."""
    test: str | None
    """Name of the test; null for the task of the command alone."""
    command: str
    """Exact command line, executed by `/bin/sh -c`."""
    provider: str
    """Sandbox provider that executes the task."""
    environment: str
    """Environment of the sandbox without a prebuilt template."""
    template: TemplateReference
    """Template of the sandbox."""
    net: bool
    """Whether the command can use the network."""
    timeout_ms: int = Field(gt=0)
    """Longest time of the command in milliseconds."""
    cpu: int = Field(ge=1)
    """Processors of the sandbox."""
    mem_mb: int = Field(alias="memMB")
    """Largest memory of the sandbox in MiB."""

    @property
    def sandbox(self) -> str:
        """Everything that the sandbox permits, on one line for a person."""
        prebuilt = f", prebuilt {self.template.id}" if self.template.id else ""
        return (
            f"provider {self.provider}, network {'on' if self.net else 'off'}, time limit {self.timeout_ms} ms, "
            f"memory {self.mem_mb} MiB, CPUs {self.cpu}, environment {self.environment}, "
            f"template {self.template.key}{prebuilt}"
        )


class PlannedSetup(Section):
    """The command that prepares what all tasks need, and everything its sandbox permits."""

    command: str
    """Exact command line, executed by `/bin/sh -c` once for the same setup and files."""
    lock_files: list[str]
    """Files that the command sees, sorted; one that ends with a slash is everything below a folder."""
    provider: str
    """Sandbox provider that executes the command."""
    hosts: list[str]
    """Hosts that the command can reach; none without network."""
    timeout_ms: int = Field(gt=0)
    """Longest time of the command in milliseconds."""
    cpu: int = Field(ge=1)
    """Processors of the sandbox."""
    mem_mb: int = Field(alias="memMB")
    """Largest memory of the sandbox in MiB."""
    disk_mb: int = Field(alias="diskMB")
    """Most space of what the command writes, in MiB."""

    @property
    def title(self) -> str:
        """The files that the command sees and all that its sandbox permits, on one line for a person."""
        return (
            f"files {', '.join(self.lock_files)}, provider {self.provider}, "
            f"network {', '.join(self.hosts) or 'off'}, time limit {self.timeout_ms} ms, memory {self.mem_mb} MiB, "
            f"disk {self.disk_mb} MiB, CPUs {self.cpu}"
        )


class PinnedVersion(Section):
    """A version of a recipe or a policy."""

    id: str
    """Id of the recipe or policy."""
    version: int
    """Number of the version."""
    sha256: Sha256
    """Hash of the version's content."""

    @property
    def title(self) -> str:
        """The version on one line for a person."""
        return f"{self.id} version {self.version}, sha256 {self.sha256}"


class PlanBase(Section):
    """What the changes of a plan start from."""

    commit: str | None
    """Commit of the repository; null without a repository."""
    files_sha256: Sha256
    """Hash of the intent's files; with a repository, of its address, the subdirectory and the tree of that."""

    @property
    def title(self) -> str:
        """The base on one line for a person."""
        return f"{f'commit {self.commit}' if self.commit else 'no commit'}, files sha256 {self.files_sha256}"


class PlanPush(Section):
    """Where the result of a plan is pushed once its run has succeeded."""

    remote: str
    """Address of the repository: an https URL or a folder, without credentials."""
    branch: str
    """Branch that is created there; it must not exist."""

    @property
    def title(self) -> str:
        """The push on one line for a person."""
        return f"branch {self.branch} to {self.remote}, once the run has succeeded"


class PlanHead(Section):
    """The hashes of a complete plan's sections. `planSha256` is the hash of the head's canonical JSON."""

    v: Literal[1]
    """Version of this form."""
    changes: Sha256
    """Hash of the changes."""
    tasks: Sha256
    """Hash of the tasks."""
    recipe: Sha256
    """Hash of the recipe."""
    policy: Sha256
    """Hash of the policy."""
    base: Sha256
    """Hash of the base."""
    push: Sha256 | None = Field(default=None, exclude_if=absent)
    """Hash of the push; absent without one."""
    setup: Sha256 | None = Field(default=None, exclude_if=absent)
    """Hash of the setup; absent without one."""


class CompletePlan(Section):
    """Everything that is executed once a plan is approved."""

    head: PlanHead
    """Hashes of the sections."""
    changes: list[PlannedChange]
    """Files that the plan changes, sorted by path."""
    tasks: list[PlannedTask]
    """Tasks in order."""
    recipe: PinnedVersion
    """Recipe of the run."""
    policy: PinnedVersion
    """Policy that decides who must approve."""
    base: PlanBase
    """What the changes start from."""
    push: PlanPush | None = Field(default=None, exclude_if=absent)
    """Where the result is pushed if the plan changes a file; absent without a push."""
    setup: PlannedSetup | None = Field(default=None, exclude_if=absent)
    """What is prepared before the tasks; absent without a setup."""

    @property
    def push_title(self) -> str | None:
        """The push on one line for a person; None for a recipe without a push."""
        if self.push is None:
            return None
        return self.push.title if self.changes else "nothing, because the plan changes no file"
