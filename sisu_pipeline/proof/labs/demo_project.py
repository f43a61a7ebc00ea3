"""The demo's second intent: a small Python project with tests, one of which fails on purpose."""

import difflib
from pathlib import Path
from typing import Any

from sisu_pipeline.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "fixtures" / "demo"
TEST_COMMAND = "python3 -m unittest"
FAILING_TEST = "tests/test_receipt_tax.py"


def project_intent() -> dict[str, Any]:
    """The body of `POST /intents`: every file, one task per test file, one patch to a source file."""
    files = _texts(FOLDER / "project")
    patches = [_patch(path, files[path], text) for path, text in _texts(FOLDER / "patched").items()]
    return {
        "goal": "Round discounts in the customer's favor, and run every test of the kiosk",
        "inputs": {
            "files": files,
            "tests": [path for path in files if path.startswith("tests/test_")],
            "testCommand": TEST_COMMAND,
            "patches": patches,
        },
        "constraints": {},
    }


def _texts(folder: Path) -> dict[str, str]:
    """The Python files below a folder by relative path, sorted."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    return {path: (folder / path).read_text() for path in paths}


def _patch(path: str, before: str, after: str) -> dict[str, str]:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{path}", f"b/{path}"
    )
    return {"targetPath": path, "postimageContent": after, "diffText": "".join(lines)}
