"""Outputs of the steps. All steps share one limit for `tests`."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.sandbox_request import Sha256

MAX_TESTS = 10_000
MAX_COMMAND = 100_000
# Longer than any file that an intent can carry: a diff may contain all of its lines.
MAX_DIFF = 20_000_000

TestNames = Annotated[list[str], Field(max_length=MAX_TESTS)]


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


class PlanPatch(Contract):
    """A file that the plan changes: its path and new content."""

    target_path: str = Field(min_length=1, max_length=1024)
    """Path of the file in the workspace."""
    postimage_content: str = Field(max_length=200_000)
    """Content of the file after the patch."""
    diff_text: str = Field(default="", max_length=MAX_DIFF)
    """The change as a unified diff, computed from the content. The value in a request is ignored."""
    old_sha256: Sha256 | None = Field(default=None, alias="oldSha256")
    """Hash of the file that the patch was made for; another content is refused. Null for any content."""


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
    files: list[str] = Field(max_length=30)
    """Paths of the affected files."""
    risks: list[str] = Field(max_length=15)
    """Known risks."""
    tests: TestNames
    """Names of the tests; each is one task."""
    test_command: str | None = Field(default=None, min_length=1, max_length=MAX_COMMAND)
    """Shell command of every task; an edited plan without one keeps that of the compiled plan."""
    patch_plan: list[PlanPatch] | None = Field(default=None, max_length=20)
    """Files that the plan changes."""
    ask: Ask | None = None
    """Question to a person before the patches are applied."""


class PatchedPlan(Contract):
    """Output of ApplyPatchST: the plan without its patches, and the answer to its question."""

    goal: str
    design: list[str] = Field(max_length=25)
    files: list[str] = Field(max_length=30)
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
