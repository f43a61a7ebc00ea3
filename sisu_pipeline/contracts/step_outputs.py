"""Outputs of the steps. All steps share one limit for `tests`."""

import base64
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.field_errors import shown
from sisu_pipeline.contracts.sandbox_request import Mode, Sha256

MAX_TESTS = 10_000
MAX_COMMAND = 100_000
# Longer than any file that an intent can carry: a diff may contain all of its lines.
MAX_DIFF = 20_000_000
MAX_PATCHES = 200
MAX_FILES = 2 * MAX_PATCHES
"""Paths that a plan lists: a rename has two."""
MAX_TEXT = 200_000
MAX_BASE64 = 266_664
"""Characters of 199,998 bytes, so that binary content that turns out to be text fits as text."""

MAX_TEST_NAME = 10_000
"""Linux passes at most 128 KiB as one argument, the command included."""

TestNames = Annotated[list[Annotated[str, Field(max_length=MAX_TEST_NAME)]], Field(max_length=MAX_TESTS)]


class StepId(StrEnum):
    """The four stable steps, in order."""

    COMPILE = "CompileST"
    APPLY_PATCH = "ApplyPatchST"
    DECIDE = "DecideST"
    EXECUTE = "ExecuteST"

    @property
    def phase(self) -> str:
        """The name of the phase the step's row carries."""
        return _PHASES[self]


_PHASES = {
    StepId.COMPILE: "compilation",
    StepId.APPLY_PATCH: "patching",
    StepId.DECIDE: "planning",
    StepId.EXECUTE: "execution",
}


class PatchOp(StrEnum):
    """What a patch does to its file."""

    CREATE = "create"
    MODIFY = "modify"
    DELETE = "delete"
    RENAME = "rename"


class PlanPatch(Contract):
    """A file that the plan creates, modifies, deletes or renames.

    A patch without `op` creates its file or replaces the content. Once the plan is compiled or edited, every patch
    has its `op`, the hash of the old content and its diff.
    """

    target_path: str = Field(min_length=1, max_length=1024)
    """Path of the file in the workspace; of a renamed file, the new path."""
    op: PatchOp | None = None
    """Effect on the file. Null: create the file, or modify it if it exists."""
    from_path: str | None = Field(default=None, min_length=1, max_length=1024)
    """Old path of a renamed file."""
    mode: Mode | None = None
    """Mode of the file after the patch. Null: the mode before it, and 100644 for a new file."""
    postimage_content: str | None = Field(default=None, max_length=MAX_TEXT)
    """Text of the file after the patch. A rename or a change of mode without content keeps the content."""
    content_base64: str | None = Field(default=None, max_length=MAX_BASE64)
    """Content of the file after the patch in base64, for content that is not text."""
    diff_text: str = Field(default="", max_length=MAX_DIFF)
    """The change as a unified diff, computed from the content. The value in a request is ignored."""
    old_sha256: Sha256 | None = Field(default=None, alias="oldSha256")
    """Hash of the content that the patch was made for; other content is refused. Null in a request: any content."""

    @property
    def content(self) -> bytes | None:
        """The content after the patch; None when the patch names none."""
        if self.content_base64 is not None:
            return base64.b64decode(self.content_base64, validate=True)
        return None if self.postimage_content is None else self.postimage_content.encode()

    @property
    def source_path(self) -> str:
        """The path of the file before the patch."""
        return self.from_path or self.target_path

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_content()
        path, has_content = shown(self.target_path), self.content is not None
        if (self.op is PatchOp.RENAME) != (self.from_path is not None):
            raise ValueError(f"the patch of {path} must have both op 'rename' and fromPath, or neither")
        if self.from_path == self.target_path:
            raise ValueError(f"the patch of {path} renames the file to the path it has; name another fromPath")
        if self.op is PatchOp.DELETE and (has_content or self.mode is not None):
            raise ValueError(f"the patch of {path} deletes the file; leave out the content and the mode")
        if self.op is PatchOp.CREATE and self.old_sha256 is not None:
            raise ValueError(f"the patch of {path} creates the file; leave out oldSha256")
        if self.op in (None, PatchOp.CREATE) and not has_content:
            raise ValueError(f"the patch of {path} must have postimageContent or contentBase64")
        if self.op is PatchOp.MODIFY and not has_content and self.mode is None:
            raise ValueError(f"the patch of {path} must have postimageContent, contentBase64 or mode")
        return self

    def _check_content(self) -> None:
        if self.content_base64 is None:
            return
        path = shown(self.target_path)
        if self.postimage_content is not None:
            raise ValueError(f"the patch of {path} must have postimageContent or contentBase64, not both")
        try:
            self.content  # noqa: B018 — decodes it
        except ValueError:
            raise ValueError(f"contentBase64 of the patch of {path} must be base64 with padding") from None


class Ask(Contract):
    """A question to a person before the patches are applied. `form` is the JSON Schema of the answer."""

    question: str = Field(min_length=1, max_length=2000)
    """The question to a person."""
    form: dict[str, Any]
    """JSON Schema of the answer."""


class Plan(Contract):
    """Output of CompileST: the proposed plan, and optionally a question to a person."""

    goal: str
    """Goal of the plan."""
    design: list[str] = Field(max_length=25)
    """Decisions of the design."""
    files: list[str] = Field(max_length=MAX_FILES)
    """Paths of the affected files."""
    risks: list[str] = Field(max_length=15)
    """Known risks."""
    tests: TestNames
    """Names of the tests; each is one task."""
    test_command: str | None = Field(default=None, min_length=1, max_length=MAX_COMMAND)
    """Shell command of every task; an edited plan without one keeps that of the compiled plan."""
    patch_plan: list[PlanPatch] | None = Field(default=None, max_length=MAX_PATCHES)
    """Files that the plan changes."""
    ask: Ask | None = None
    """Question to a person before the patches are applied."""


class PatchedPlan(Contract):
    """Output of ApplyPatchST: the plan without its patches, and the answer to its question."""

    goal: str
    design: list[str] = Field(max_length=25)
    files: list[str] = Field(max_length=MAX_FILES)
    risks: list[str] = Field(max_length=15)
    tests: TestNames
    answer: dict[str, Any] | None = None


class BuildPatch(Contract):
    """A diff proposed by the planner's build answer. It is recorded, never applied."""

    path: str
    diff: str = Field(max_length=20_000)


class Build(Contract):
    """The structured part of DecideST's output: the command and its tests."""

    patch: list[BuildPatch] = Field(max_length=30)
    tests: TestNames
    test_command: str = Field(alias="test_command")


class ToolCall(Contract):
    """A tool call of the agent."""

    name: str
    args: Any


class PlannerOutput(Contract):
    """One answer of the planner, with the tools it used."""

    prompt: str
    toolcalls: list[ToolCall]
    responses: list[Any]
    diffs: list[Any]
    structured: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
