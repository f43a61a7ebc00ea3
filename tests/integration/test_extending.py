"""docs/extending.md does what it says: its changes apply, its proof holds, and nothing else breaks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "extending.md"
SOURCES = ("sisu_pipeline", "resources", "sensors", "sql", "tests", "fixtures", "dagster_home", "pyproject.toml")
TOUCHED = ("tests/unit/test_step_execute.py", "tests/unit/test_contracts.py", "tests/unit/test_settings.py")


def blocks(language: str) -> list[str]:
    """The guide's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


def apply(diff: str, root: Path) -> None:
    """Replace a block's old lines by its new ones; they must be there exactly once."""
    head, *lines = diff.splitlines(keepends=True)
    path = root / head.removeprefix("--- ").strip()
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    text = path.read_text()
    assert text.count(before) == 1, f"{path.name} has {text.count(before)} times:\n{before}"
    path.write_text(text.replace(before, after))


@pytest.mark.slow
def test_a_capability_is_added_the_documented_way(tmp_path: Path) -> None:
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    for diff in blocks("diff"):
        apply(diff, tmp_path)
    (proof,) = blocks("python")
    (tmp_path / "tests/integration/test_gpu.py").write_text(proof)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/integration/test_gpu.py", *TOUCHED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
