"""Commands on the files of a git tree: shared by all tasks, changed by none of them."""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.sandbox.e2b.e2b_provider import E2bSandbox
from resources.sandbox.local.local_provider import LocalSandbox
from resources.sandbox.local.self_test import open_local
from resources.sandbox.run_trees import RunTrees
from resources.sandbox.sandbox_port import Sandbox
from sisu_pipeline.contracts.sandbox_request import ErrorCode, FileIn, SandboxResult
from tests.integration.sandbox.conftest import e2b_settings, local_settings
from tests.support.e2b.client import E2bServer
from tests.unit.sandbox.requests import a_context, a_request, ignore

_TREE = "a" * 64


class Source:
    """Writes a small tree, and counts how often."""

    def __init__(self, files: int = 0) -> None:
        self.writes = 0
        self._files = files

    async def __call__(self, run_id: str, tree: str, folder: Path) -> None:
        if tree != _TREE:
            raise LookupError(f"there is no tree {tree}")
        self.writes += 1
        await asyncio.sleep(0)
        partial = folder.with_name(f".{folder.name}")
        (partial / "src").mkdir(parents=True)
        (partial / "README.md").write_text("one\n")
        (partial / "src/app.py").write_text("x = 1\n")
        (partial / "run.sh").write_text("#!/bin/sh\necho ran\n")
        (partial / "run.sh").chmod(0o755)
        (partial / "passwd").symlink_to("/etc/passwd")
        for number in range(self._files):
            (partial / f"many{number % 20}").mkdir(exist_ok=True)
            (partial / f"many{number % 20}/file{number}.txt").write_text(f"{number}\n")
        partial.rename(folder)


@pytest.fixture(scope="module", params=["mounted", "copied"])
def opened(request: pytest.FixtureRequest) -> Iterator[tuple[LocalSandbox, Source]]:
    with tempfile.TemporaryDirectory(prefix="sisu-") as folder:
        Path(folder).chmod(0o711)
        home, source = Path(folder) / "private" / "sandbox", Source()
        home.parent.mkdir(mode=0o700)
        sandbox = open_local(local_settings(home, runtime=Path(folder) / "run"), None, source)
        assert sandbox._host.can_layer, "this machine's kernel mounts overlays in user namespaces"
        sandbox._host.can_layer = request.param == "mounted"
        yield sandbox, source
        asyncio.run(sandbox.close())
        assert not (home / "boxes").exists() or not list((home / "boxes").iterdir())


@pytest.fixture
def sandbox(opened: tuple[LocalSandbox, Source]) -> LocalSandbox:
    return opened[0]


def _run(sandbox: Sandbox, cmd: str, tree: str = _TREE, name: str = "t", **fields: object) -> SandboxResult:
    request = a_request(cmd, tree=tree, task_key=f"{name}-{time.monotonic_ns()}", **fields)
    return asyncio.run(sandbox.run(request, a_context(), ignore))


def test_a_command_finds_the_files_with_their_modes_and_links(sandbox: LocalSandbox) -> None:
    result = _run(sandbox, "cat README.md src/app.py && ./run.sh && readlink passwd && ls -A | sort")
    assert result.stdout == "one\nx = 1\nran\n/etc/passwd\nREADME.md\npasswd\nrun.sh\nsrc\n"
    assert result.files_out == ()


def test_a_command_changes_creates_and_removes_files_as_if_they_were_its_own(sandbox: LocalSandbox) -> None:
    result = _run(
        sandbox,
        "echo two >> README.md && rm src/app.py && mkdir -p src/new && echo 3 > src/new/file && mv run.sh go.sh"
        " && rm -r src/new && echo 4 > src/other && touch passwd 2>/dev/null; ls -A . src && cat README.md",
    )
    assert result.err_code is ErrorCode.NONE, result.stderr
    assert {file.path: file.inline for file in result.files_out} == {
        "README.md": "one\ntwo\n",
        "go.sh": "#!/bin/sh\necho ran\n",
        "src/other": "4\n",
    }


def test_no_task_sees_what_another_one_changed(sandbox: LocalSandbox) -> None:
    assert _run(sandbox, "echo bad > README.md; rm -rf src; echo left > left").err_code is ErrorCode.NONE
    assert _run(sandbox, "cat README.md; ls -A").stdout == "one\nREADME.md\npasswd\nrun.sh\nsrc\n"


def test_a_file_that_is_written_with_its_own_content_is_no_output(sandbox: LocalSandbox) -> None:
    assert _run(sandbox, "cp README.md x && cp x README.md && rm x && chmod 600 src/app.py").files_out == ()


def test_a_command_runs_below_the_tree(sandbox: LocalSandbox) -> None:
    result = _run(sandbox, "pwd; ls; echo 1 > new", workdir="src")
    assert result.stdout == "/work/src\napp.py\n"
    assert [file.path for file in result.files_out] == ["new"]


def test_what_a_command_writes_on_a_tree_counts_towards_the_disk_limit(sandbox: LocalSandbox) -> None:
    write = " && ".join(f"head -c 20000000 /dev/zero > big{number}" for number in range(3))
    result = _run(sandbox, f"{write} && sleep 20")
    assert result.raw is not None
    assert result.raw["killedBy"] == "disk"


def test_an_unknown_tree_is_refused(sandbox: LocalSandbox) -> None:
    result = _run(sandbox, "true", tree="b" * 64)
    assert result.err_code is ErrorCode.CMD_NONZERO
    assert "there is no tree" in result.stderr


def test_a_request_has_a_tree_or_files(sandbox: LocalSandbox) -> None:
    assert "either a tree or input files" in _run(sandbox, "true", files_in=(FileIn(path="a", inline=""),)).stderr


def test_a_provider_without_a_source_of_trees_refuses_them(local: LocalSandbox) -> None:
    assert "nothing here provides the files of a repository" in _run(local, "true").stderr


def test_a_tree_is_written_once_for_tasks_that_start_together(sandbox: LocalSandbox, tmp_path: Path) -> None:
    source = Source()
    trees = RunTrees(tmp_path / "trees", source)

    async def all_at_once() -> None:
        await asyncio.gather(*(trees.folder_of(a_request("true", tree=_TREE), a_context()) for _ in range(20)))

    asyncio.run(all_at_once())
    assert source.writes == 1


def test_a_tree_that_no_task_used_for_a_day_is_removed(tmp_path: Path) -> None:
    trees = RunTrees(tmp_path / "trees", Source())
    old = tmp_path / "trees" / ("c" * 64)
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    asyncio.run(trees.folder_of(a_request("true", tree=_TREE), a_context()))
    assert [path.name for path in (tmp_path / "trees").iterdir()] == [_TREE]


def test_the_e2b_provider_uploads_the_tree(e2b_server: E2bServer, tmp_path: Path) -> None:
    async def run() -> SandboxResult:
        sandbox = E2bSandbox(e2b_settings(e2b_server), None, None, RunTrees(tmp_path / "trees", Source()))
        try:
            request = a_request(
                "cat README.md && ./run.sh && readlink passwd && echo 2 > src/app.py",
                tree=_TREE,
                task_key="e2b-tree",
            )
            return await sandbox.run(request, a_context(), ignore)
        finally:
            await sandbox.close()

    result = asyncio.run(run())
    assert result.stdout == "one\nran\n/etc/passwd\n", result.stderr
    assert {file.path: file.inline for file in result.files_out} == {"src/app.py": "2\n"}


@pytest.mark.slow
def test_fifty_tasks_start_as_fast_on_two_thousand_files_as_on_none() -> None:
    async def fifty(sandbox: LocalSandbox, tree: str | None, name: str) -> float:
        requests = [a_request("true", tree=tree, task_key=f"{name}{number}") for number in range(50)]
        began = time.monotonic()
        results = await asyncio.gather(*(sandbox.run(request, a_context(), ignore) for request in requests))
        assert {result.err_code for result in results} == {ErrorCode.NONE}
        return time.monotonic() - began

    async def measure(sandbox: LocalSandbox) -> tuple[float, float]:
        await fifty(sandbox, _TREE, "first")  # writes the tree, and maps each uid once
        await fifty(sandbox, None, "warm")
        on_tree = [await fifty(sandbox, _TREE, f"t{number}") for number in range(3)]
        on_nothing = [await fifty(sandbox, None, f"n{number}") for number in range(3)]
        return min(on_tree), min(on_nothing)

    with tempfile.TemporaryDirectory(prefix="sisu-") as folder:
        Path(folder).chmod(0o711)
        settings = local_settings(Path(folder) / "home" / "sandbox", runtime=Path(folder) / "run")
        sandbox = open_local(settings, None, Source(files=2000))
        try:
            with_tree, without = asyncio.run(measure(sandbox))
        finally:
            asyncio.run(sandbox.close())
    assert with_tree < 1.5 * without + 0.2
