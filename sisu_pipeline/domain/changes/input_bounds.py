"""Types and bounds of an intent's inputs: they become files' names, index entries or arguments of commands."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from sisu_pipeline.contracts.base import Contract, ContractInvalid
from sisu_pipeline.contracts.field_errors import pointer, shown
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import (
    MAX_COMMAND,
    MAX_PATCHES,
    MAX_TEST_NAME,
    PlanPatch,
    TestNames,
)
from sisu_pipeline.domain.changes.command_lines import command_error
from sisu_pipeline.domain.changes.repository_base import InputInvalid
from sisu_pipeline.domain.changes.workspace_files import file_in_file, path_error, path_fault

_MOST_SHOWN = 60


class _KnownInputs(Contract):
    """The inputs that plans are made of. Other members are for planners, which read them as they like."""

    model_config = ConfigDict(extra="ignore")

    tests: TestNames = Field(default_factory=list)
    test_command: str = Field(default=" ", min_length=1)
    patches: Annotated[list[PlanPatch], Field(max_length=MAX_PATCHES)] | None = None
    files: dict[str, str] = Field(default_factory=dict)


def check_inputs(intent: Intent) -> None:
    """Raise InputInvalid for the first input that no plan can have: of another type, too long, or not a path."""
    check_bounds(intent)
    try:
        known = _KnownInputs.from_json(intent.inputs)
    except ContractInvalid as failure:
        fault = failure.faults[0]
        raise InputInvalid(f"/inputs{fault.pointer}", fault.message) from None
    if (error := command_error(known.test_command, known.tests)) is not None:
        raise InputInvalid("/inputs/testCommand", error)
    for path in known.files:
        if (error := path_error(path)) is not None:
            raise InputInvalid(pointer(("inputs", "files", path)), error)
    if (nested := file_in_file(known.files)) is not None:
        file, inside = nested
        message = f"{shown(file)} is a file, and cannot be the folder of {shown(inside)} too"
        raise InputInvalid(pointer(("inputs", "files", inside)), message)


def check_bounds(intent: Intent) -> None:
    """Raise InputInvalid for the first path, test name or command that is too long. Types are checked elsewhere."""
    for place, path in _paths(intent.inputs):
        if (fault := path_fault(path)) is not None:
            raise InputInvalid(place, f"{fault}: {path[:_MOST_SHOWN]!r}")
    for index, name in enumerate(_list(intent.inputs.get("tests"))):
        if isinstance(name, str) and len(name) > MAX_TEST_NAME:
            raise InputInvalid(
                f"/inputs/tests/{index}", f"a test name has at most {MAX_TEST_NAME} characters (got {len(name)})"
            )
    command = intent.inputs.get("testCommand")
    if isinstance(command, str) and len(command) > MAX_COMMAND:
        raise InputInvalid(
            "/inputs/testCommand", f"testCommand has at most {MAX_COMMAND} characters (got {len(command)})"
        )


def _paths(inputs: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each path with its pointer; a file's own pointer would repeat the path."""
    files = inputs.get("files")
    for path in files if isinstance(files, dict) else ():
        yield "/inputs/files", path
    for index, patch in enumerate(_list(inputs.get("patches"))):
        for member in ("targetPath", "fromPath"):
            if isinstance(patch, dict) and isinstance(path := patch.get(member), str):
                yield f"/inputs/patches/{index}/{member}", path


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
