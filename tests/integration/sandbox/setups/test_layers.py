"""What a prepare command leaves in the local provider, and which tasks find it."""

import asyncio
import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from resources.sandbox.local.local_provider import LocalSandbox
from resources.sandbox.sandbox_port import SetupFailed, TaskContext
from sisu_pipeline.contracts.planned_work import PlannedSetup
from sisu_pipeline.contracts.sandbox_request import ErrorCode, SandboxResult
from sisu_pipeline.domain.changes.declared_setup import SetupOrder
from tests.integration.sandbox.setups.conftest import LOCK, a_setup, a_task, open_sandbox, outcome_of, run_task
from tests.support import wheels
from tests.unit.sandbox.requests import ignore


@pytest.mark.slow
def test_pytest_is_installed_from_wheels_of_the_repository_and_runs_offline(sandbox: LocalSandbox) -> None:
    packages = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
    files: dict[str, str | bytes] = {f"wheels/{name}": content for name, content in map(wheels.wheel, packages)}
    files["requirements.txt"] = "pytest\n"
    files["test_app.py"] = "def test_it(): assert 1 + 1 == 2\n"
    prepare = "python3 -m venv .venv && .venv/bin/pip install --no-index --find-links wheels -r requirements.txt"
    setup = a_setup(prepare, ["requirements.txt", "wheels/"])
    first = run_task(sandbox, setup, "pytest -q -p no:cacheprovider test_app.py", files, run="run_pip")
    assert "1 passed" in first.stdout, first.stderr + first.stdout
    assert first.files_out == ()
    again = run_task(
        sandbox,
        setup,
        "pytest -q -p no:cacheprovider test_app.py",
        {**files, "test_app.py": "def test_it(): 1 / 0\n"},
    )
    assert "1 failed" in again.stdout
    assert (outcome_of(first), outcome_of(again)) == ("prepared", "cached")


def test_npm_installs_from_a_tarball_of_the_repository_and_runs_offline(sandbox: LocalSandbox) -> None:
    if "npm" not in run_task(sandbox, a_setup("true"), "command -v npm", run="run_which").stdout:
        pytest.skip("npm is not in /usr of this machine")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in {
            "package/package.json": '{"name": "two", "version": "1.0.0", "bin": {"two": "two.js"}}',
            "package/index.js": "module.exports = 2\n",
            "package/two.js": "#!/usr/bin/env node\nconsole.log('two ' + require('./index.js'))\n",
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    package = {
        "name": "app",
        "version": "1.0.0",
        "dependencies": {"two": "file:two.tgz"},
        "scripts": {"test": "two"},
    }
    files = {"package.json": json.dumps(package), "two.tgz": packed.getvalue(), "app.js": "require('two')\n"}
    setup = a_setup("npm install --offline --no-audit --no-fund", ["package.json", "two.tgz"])
    result = run_task(sandbox, setup, "npm test --silent && node app.js", files, run="run_npm")
    assert (result.stdout, result.err_code) == ("two 2\n", ErrorCode.NONE), result.stderr


def test_cargo_builds_with_vendored_packages_offline(sandbox: LocalSandbox) -> None:
    if "cargo" not in run_task(sandbox, a_setup("true"), "command -v cargo", run="run_which").stdout:
        pytest.skip("cargo is not in /usr of this machine")
    files = {
        "Cargo.toml": '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n',
        "src/lib.rs": "#[test]\nfn adds() { assert_eq!(1 + 1, 2) }\n",
    }
    setup = a_setup("mkdir src && touch src/lib.rs && cargo build --offline", ["Cargo.toml"])
    result = run_task(sandbox, setup, "cargo test --offline --quiet", files, run="run_cargo")
    assert "1 passed" in result.stdout, result.stderr


def test_tasks_that_start_together_prepare_once(sandbox: LocalSandbox) -> None:
    setup = a_setup("head -c 32 /dev/urandom | base64 > chosen")

    async def story() -> list[SandboxResult]:
        tasks = [a_task(setup, "cat chosen", run=f"run_{n % 2}", key=str(n)) for n in range(20)]
        return await asyncio.gather(*(sandbox.run(*task, ignore) for task in tasks))

    results = asyncio.run(story())
    assert len({result.stdout for result in results}) == 1
    assert len(results[0].stdout) == 45
    assert {outcome_of(result) for result in results[::2]} | {outcome_of(result) for result in results[1::2]} == {
        "prepared",
        "cached",
    }


def test_two_workers_prepare_once(home: Path, sandbox: LocalSandbox) -> None:
    setup = a_setup("sleep 0.5; head -c 32 /dev/urandom | base64 > chosen; echo two workers > who")
    other = open_sandbox(home)

    async def story() -> list[SandboxResult]:
        first, second = a_task(setup, "cat chosen", run="run_a"), a_task(setup, "cat chosen", run="run_b")
        return [*await asyncio.gather(sandbox.run(*first, ignore), other.run(*second, ignore))]

    try:
        results = asyncio.run(story())
    finally:
        asyncio.run(other.close())
    assert results[0].stdout == results[1].stdout != ""
    assert {outcome_of(result) for result in results} == {"prepared", "cached"}


def test_what_a_command_leaves_is_named_by_the_setup_its_files_and_the_tenant(sandbox: LocalSandbox) -> None:
    def prepared(setup: PlannedSetup, files: Mapping[str, str | bytes], tenant: str | None = None) -> str:
        return outcome_of(run_task(sandbox, setup, "true", files, tenant=tenant, run=f"run_{os.urandom(8).hex()}"))

    setup, other = a_setup("touch named"), a_setup("touch named; true")
    assert prepared(setup, LOCK) == "prepared"
    assert prepared(setup, {**LOCK, "app.py": "changed\n"}) == "cached"
    assert prepared(setup, {"lock.txt": "two\n"}) == "prepared"
    assert prepared(other, LOCK) == "prepared"
    assert prepared(setup, LOCK, "acme") == "prepared"
    assert prepared(setup, LOCK, "acme") == "cached"


def test_the_command_sees_the_lock_files_and_nothing_else_of_the_workspace(sandbox: LocalSandbox) -> None:
    files = {**LOCK, "secret.py": "x", "deep/a/file": "1", "deep/b": "2", "deeper": "3"}
    setup = a_setup("find . -type f | sort > seen", ["deep/", "lock.txt"])
    assert run_task(sandbox, setup, "cat seen", files).stdout.split() == [
        "./deep/a/file",
        "./deep/b",
        "./lock.txt",
        "./seen",
    ]


def test_no_task_changes_what_others_find(sandbox: LocalSandbox) -> None:
    setup = a_setup("mkdir packages && echo good > packages/one")
    changed = run_task(sandbox, setup, "echo bad > packages/one; rm -rf packages; mkdir packages", run="run_bad")
    assert changed.err_code is ErrorCode.NONE, changed.stderr
    assert run_task(sandbox, setup, "cat packages/one", run="run_good").stdout == "good\n"


def test_the_files_of_the_workspace_win_over_what_the_command_left(sandbox: LocalSandbox) -> None:
    setup = a_setup("echo planted > app.py; echo planted > lock.txt; mkdir src; echo planted > src/new")
    files = {**LOCK, "app.py": "reviewed\n", "src/app.py": "reviewed\n"}
    result = run_task(sandbox, setup, "cat app.py lock.txt src/app.py src/new", files)
    assert result.stdout == "reviewed\none\nreviewed\nplanted\n"


def test_a_missing_lock_file_is_a_sentence(sandbox: LocalSandbox) -> None:
    with pytest.raises(SetupFailed, match=r"names the lock file poetry\.lock, which the workspace"):
        run_task(sandbox, a_setup("true", ["poetry.lock"]), "true")


def test_a_task_without_its_setup_is_refused(sandbox: LocalSandbox) -> None:
    request, context = a_task(a_setup("true"), "true")
    other = TaskContext("run_1", "ExecuteST", 1, None, SetupOrder(a_setup("false")))
    for wrong in (other, TaskContext("run_1", "ExecuteST", 1, None)):
        result = asyncio.run(sandbox.run(request, wrong, ignore))
        assert result.raw is not None
        assert result.raw["refused"]["code"] == "SETUP_UNKNOWN"
    assert context.setup is not None


def test_where_nothing_can_be_mounted_a_setup_is_refused(sandbox: LocalSandbox) -> None:
    sandbox._host.can_layer = False
    try:
        result = run_task(sandbox, a_setup("true"), "true")
    finally:
        sandbox._host.can_layer = True
    assert result.raw is not None
    assert result.raw["refused"]["code"] == "SETUP_NOT_SUPPORTED"
