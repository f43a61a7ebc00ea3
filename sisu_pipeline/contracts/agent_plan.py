"""What a coding agent submits: the plan without its changes, which are read from the agent's working directory."""

from typing import Annotated, Any

from pydantic import Field

from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.step_outputs import MAX_COMMAND, MAX_FILES, MAX_PATCHES, MAX_TESTS

Line = Annotated[str, Field(min_length=1, max_length=10_000)]


class AgentPlan(Contract):
    """The arguments of the tool `submit_plan`."""

    design: list[Line] = Field(max_length=25)
    """What the change does and why, one decision per item."""
    files: list[Line] = Field(max_length=MAX_FILES)
    """Paths of the files that the change affects, relative to the working directory."""
    risks: list[Line] = Field(max_length=15)
    """What could go wrong. An empty list when nothing is known."""
    tests: list[Line] = Field(max_length=MAX_TESTS)
    """Names of the tests that prove the change. Each one becomes a task; an empty list becomes one task."""
    test_command: str = Field(min_length=1, max_length=MAX_COMMAND)
    """Shell command that each task executes in the changed working directory."""


def plan_schema() -> dict[str, Any]:
    """The JSON Schema of the tool's arguments."""
    return AgentPlan.model_json_schema(by_alias=True)


class FileEdit(Contract):
    """A file as it is to be after the change."""

    path: str = Field(min_length=1, max_length=1024)
    """Path of the file, relative to the working directory."""
    content: str | None = Field(max_length=200_000)
    """The whole content after the change; null removes the file."""


class ChatPlan(AgentPlan):
    """A plan with the files that it changes, by a model that cannot edit files itself."""

    edits: list[FileEdit] = Field(max_length=MAX_PATCHES)
    """The files that the change creates, modifies or removes."""
