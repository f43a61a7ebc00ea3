"""A rejection and a passed deadline roll every patch back byte for byte."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.workflow import escalation, patching
from tests.integration.api.conftest import Api
from tests.integration.gate.world import Waiting

FILES = {
    "crlf.txt": "a\r\nb\r\n",
    "endless.txt": "no line break at the end",
    "empty.txt": "",
    "wide.txt": "ä\u2028€ \U0001f980\n",
    "deep/down/here.txt": "before\n",
    "gone.txt": "to be deleted\r\n",
    "old/name.txt": "moved\n",
    "tool.sh": "true\n",
    "file": "becomes a folder\n",
    "folder/inner.txt": "the folder becomes a file\n",
}
AFTER = {
    "crlf.txt": "a\nb\n",
    "endless.txt": "no line break at the end\n",
    "empty.txt": "no more",
    "wide.txt": "a\n",
    "deep/down/here.txt": "",
    "new/folder/file.txt": "new\r\n",
}
PATCHES = [{"targetPath": path, "postimageContent": text, "diffText": "~"} for path, text in AFTER.items()]
BINARY = bytes(range(256))
PATCHES += [
    {"targetPath": "gone.txt", "op": "delete"},
    {"targetPath": "new/name.txt", "op": "rename", "fromPath": "old/name.txt", "mode": "100755"},
    {"targetPath": "tool.sh", "op": "modify", "mode": "100755"},
    {"targetPath": "data.bin", "contentBase64": b64encode(BINARY).decode()},
    {"targetPath": "file", "op": "delete"},
    {"targetPath": "file/inside.txt", "postimageContent": "in a folder\n"},
    {"targetPath": "folder", "op": "rename", "fromPath": "folder/inner.txt"},
]
PATCHED = {path: text.encode() for path, text in {**FILES, **AFTER}.items()} | {
    "new/name.txt": b"moved\n",
    "data.bin": BINARY,
    "file/inside.txt": b"in a folder\n",
    "folder": b"the folder becomes a file\n",
}
EXECUTABLE = {"new/name.txt", "tool.sh"}
for path in ("gone.txt", "old/name.txt", "file", "folder/inner.txt"):
    del PATCHED[path]


def reject(api: Api, run: Waiting) -> None:
    answer = api.post(f"/runs/{run.run_id}/reject-plan", {"rejectedBy": "ann", "reason": "no"})
    assert answer.status_code == 202


def miss_the_deadline(api: Api, run: Waiting) -> None:
    run.overdue()
    assert escalation.enforce(api.dependencies) == [(run.run_id, run.gate)]


@pytest.mark.parametrize("end", [reject, miss_the_deadline])
def test_a_rollback_restores_every_byte_and_leaves_nothing_else(
    api: Api, end: Callable[[Api, Waiting], None]
) -> None:
    run = Waiting(api.dependencies, files=FILES, patches=PATCHES)
    root = patching.workspace_of(api.dependencies.workspaces, run.run_id).root
    assert everything(root) == {path: (text, path in EXECUTABLE) for path, text in PATCHED.items()}
    (root / "crlf.txt").chmod(0o755)
    end(api, run)
    assert run.segment().status is RunStatus.RETRIES_EXCEEDED
    assert everything(root) == {path: (text.encode(), False) for path, text in FILES.items()}
    assert not (root / "new").exists()
    assert run.run.error is not None


def everything(root: Path) -> dict[str, tuple[bytes, bool]]:
    """Every file: its content and whether it is executable."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mode & 0o777 == 0o755)
        for path in root.rglob("*")
        if path.is_file()
    }
