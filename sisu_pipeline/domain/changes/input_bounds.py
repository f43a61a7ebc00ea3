"""Bounds of what an intent's inputs name: it becomes a file's name, an index entry or an argument of a command."""

from collections.abc import Iterator
from typing import Any

from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import MAX_COMMAND, MAX_TEST_NAME
from sisu_pipeline.domain.changes.repository_base import InputInvalid
from sisu_pipeline.domain.changes.workspace_files import path_fault

_MOST_SHOWN = 60


def check_bounds(intent: Intent) -> None:
    """Raise InputInvalid for the first path, test name or command that is too long. Types are checked elsewhere."""
    for pointer, path in _paths(intent.inputs):
        if (fault := path_fault(path)) is not None:
            raise InputInvalid(pointer, f"{fault}: {path[:_MOST_SHOWN]!r}")
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
