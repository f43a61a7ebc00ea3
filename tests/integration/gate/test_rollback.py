"""A rejection and a passed deadline roll every patch back byte for byte."""

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
    "twice.txt": "one\n",
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
PATCHES += [{"targetPath": "twice.txt", "postimageContent": text, "diffText": "~"} for text in ("two\n", "three\n")]


def reject(api: Api, run: Waiting) -> None:
    answer = api.post(f"/runs/{run.run_id}/reject-plan", {"rejectedBy": "ann", "reason": "no"})
    assert answer.status_code == 202


def miss_the_deadline(api: Api, run: Waiting) -> None:
    run.overdue()
    assert escalation.enforce(api.dependencies.database) == [(run.run_id, run.gate)]


@pytest.mark.parametrize("end", [reject, miss_the_deadline])
def test_a_rollback_restores_every_byte_and_leaves_nothing_else(
    api: Api, end: Callable[[Api, Waiting], None]
) -> None:
    run = Waiting(api.dependencies, files=FILES, patches=PATCHES)
    root = patching.workspace_of(api.dependencies.workspaces, run.run_id).root
    patched = {path: text.encode() for path, text in {**FILES, **AFTER, "twice.txt": "three\n"}.items()}
    assert everything(root) == patched
    (root / "crlf.txt").chmod(0o755)
    end(api, run)
    assert run.segment().status is RunStatus.RETRIES_EXCEEDED
    assert everything(root) == {path: text.encode() for path, text in FILES.items()}
    assert not (root / "new").exists()
    assert run.run.error is not None


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
