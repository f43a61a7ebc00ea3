"""What comes out of a run with a repository: patch, archive, bundle and branch lead to the approved tree."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from resources.git.repository_address import AllowedRepositories
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.domain.changes.repository_base import repository_of
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.integration.api.conftest import Live, serving
from tests.integration.git.repositories import git, git_text, make_repository, mirrors_in
from tests.integration.life import FILES, PATCHES, Life
from tests.integration.test_repository_runs import PROJECT_FILES, PROJECT_PATCHES


class Result:
    """A run with a repository, the API over it, and a clone of the repository."""

    def __init__(self, live: Live, project: Path, clone: Path, subdirectory: str | None = None) -> None:
        self.live = live
        self.clone = clone
        repo = {"path": str(project), "ref": "main", **({"subdirectory": subdirectory} if subdirectory else {})}
        patches = PROJECT_PATCHES
        if subdirectory:
            patches = [{"targetPath": "main.py", "postimageContent": "x = 2\n"}]
        self.life = Life(live.dependencies, repo=repo, patches=patches, tests=[], testCommand="true")
        self.life.plan()
        git(clone.parent, "clone", "--quiet", str(project), clone.name)

    def approve(self) -> None:
        """Approve the plan."""
        self.life.say(Decision.APPROVED)

    def get(self, name: str) -> httpx.Response:
        """GET a result."""
        return httpx.get(f"{self.live.url}/runs/{self.life.run_id}/{name}", timeout=30, trust_env=False)

    def sisu(self, *arguments: str, status: int = 0) -> bytes:
        """Run a command in the clone."""
        done = subprocess.run(
            [sys.executable, "-m", "sisu_pipeline.cli", *arguments, "--url", self.live.url],
            cwd=self.clone,
            env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def intent(self, *options: str) -> Any:
        """The intent that `sisu intent from-git` prints in the clone."""
        command = [sys.executable, "-m", "sisu_pipeline.cli", "intent", "from-git", *options]
        done = subprocess.run(command, cwd=self.clone, capture_output=True, check=True, timeout=60)
        written = json.loads(done.stdout)
        repository_of(Intent.from_json(written))
        return written

    def tree(self) -> str:
        """The tree of the clone's index."""
        return git_text(self.clone, "write-tree")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_repository(tmp_path / "projects/one", PROJECT_FILES)
    return tmp_path / "projects/one"


@pytest.fixture
def live(dependencies: Dependencies, project: Path, tmp_path: Path) -> Iterator[Live]:
    allowed = AllowedRepositories((str(project.parent),))
    with serving(replace(dependencies, mirrors=mirrors_in(tmp_path), allowed_repositories=allowed)) as running:
        yield running


@pytest.fixture
def result(live: Live, project: Path, tmp_path: Path) -> Result:
    return Result(live, project, tmp_path / "clone")


def test_the_patch_the_archive_and_the_bundle_agree(result: Result) -> None:
    result.approve()
    git(result.clone, "apply", "--index", stdin=result.get("patch").content)
    tree = result.tree()
    (result.clone.parent / "result.bundle").write_bytes(result.get("bundle").content)
    branch = f"sisu/{result.life.run_id}"
    git(result.clone, "fetch", "--quiet", "../result.bundle", f"{branch}:{branch}")
    assert git_text(result.clone, "rev-parse", f"{branch}^{{tree}}") == tree
    assert git_text(result.clone, "rev-parse", f"{branch}^") == git_text(result.clone, "rev-parse", "main")
    with zipfile.ZipFile(io.BytesIO(result.get("files.zip").content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name: (result.clone / name).read_bytes() for name in ("app/main.py", "app/new.py", "brand.bin")
        }


def test_the_commit_names_the_approver_and_is_the_same_in_another_mirror(result: Result, tmp_path: Path) -> None:
    result.approve()
    first = result.get("bundle").content
    branch = f"sisu/{result.life.run_id}"
    (tmp_path / "a.bundle").write_bytes(first)
    git(result.clone, "fetch", "--quiet", str(tmp_path / "a.bundle"), f"{branch}:{branch}")
    message = git_text(result.clone, "show", "--no-patch", "--format=%an <%ae>|%B", branch)
    assert message.startswith("sisu <sisu@localhost>|Make the tests pass\n\nApproved-by: po\nSisu-Intent: ih_")
    elsewhere = replace(result.live.dependencies, mirrors=mirrors_in(tmp_path / "elsewhere"))
    with serving(elsewhere) as other:
        again = httpx.get(f"{other.url}/runs/{result.life.run_id}/bundle", timeout=30, trust_env=False).content
    heads = [content.partition(b"\n\n")[0] for content in (first, again)]
    assert heads[0] == heads[1]


def test_results_of_a_subdirectory_fit_the_whole_repository(live: Live, project: Path, tmp_path: Path) -> None:
    result = Result(live, project, tmp_path / "clone", "app")
    result.approve()
    git(result.clone, "apply", "--index", stdin=result.get("patch").content)
    assert (result.clone / "app/main.py").read_text() == "x = 2\n"
    with zipfile.ZipFile(io.BytesIO(result.get("files.zip").content)) as archive:
        assert archive.namelist() == ["app/main.py"]
    result.sisu("run", "apply", result.life.run_id, "--branch")
    assert git_text(result.clone, "rev-parse", f"sisu/{result.life.run_id}^{{tree}}") == result.tree()


def test_a_bundle_needs_an_approval(result: Result) -> None:
    refused = result.get("bundle")
    assert (refused.status_code, refused.json()["code"]) == (409, "decision_conflict")
    result.life.say(Decision.REJECTED)
    assert result.get("bundle").status_code == 409
    assert result.get("patch").status_code == 200


def test_a_run_without_a_repository_has_a_patch_and_no_bundle(live: Live) -> None:
    life = Life(live.dependencies, files=FILES, patches=PATCHES)
    base = f"{live.url}/runs/{life.run_id}"
    assert httpx.get(f"{base}/patch", trust_env=False).status_code == 404
    life.plan()
    assert httpx.get(f"{base}/patch", trust_env=False).text.startswith("diff --git a/a.txt b/a.txt\n")
    assert httpx.get(f"{base}/bundle", trust_env=False).status_code == 404


def test_a_result_is_a_download_that_a_browser_does_not_open(result: Result) -> None:
    for name in ("patch", "files.zip"):
        headers = result.get(name).headers
        assert headers["content-disposition"].startswith("attachment;")
        assert headers["x-content-type-options"] == "nosniff"


def test_a_repository_that_is_gone_is_a_409_with_a_sentence(result: Result) -> None:
    result.approve()
    dependencies = replace(result.live.dependencies, allowed_repositories=AllowedRepositories())
    with serving(dependencies) as other:
        refused = httpx.get(f"{other.url}/runs/{result.life.run_id}/bundle", trust_env=False)
    assert (refused.status_code, refused.json()["code"]) == (409, "repository_refused")
    assert "SISU_GIT_ALLOW" in refused.json()["error"]


@pytest.mark.parametrize("repo", [{"path": "/etc"}, {"url": "https://example.org/a"}, {"path": "relative"}])
def test_a_repository_that_is_not_allowed_is_a_400_and_nothing_is_written(live: Live, repo: dict[str, str]) -> None:
    body = {"goal": "g", "inputs": {"repo": {**repo, "ref": "main"}}, "constraints": {}}
    refused = httpx.post(f"{live.url}/intents", json=body, trust_env=False)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")
    assert refused.json()["details"][0]["pointer"] == "/inputs/repo"
    assert "SISU_GIT_ALLOW" in refused.json()["error"]
    with live.dependencies.database.connect() as connection:
        assert connection.execute("SELECT count(*) AS n FROM app.intents").fetchone() == {"n": 0}


def test_the_commands_apply_the_result_in_a_checkout(result: Result) -> None:
    result.approve()
    patch = result.sisu("run", "diff", result.life.run_id)
    assert patch == result.get("patch").content
    assert b"changed 4 files" in result.sisu("run", "apply", result.life.run_id)
    tree = result.tree()
    assert b"git apply: " in result.sisu("run", "apply", result.life.run_id, status=1)
    result.sisu("run", "apply", result.life.id, "--branch")
    assert git_text(result.clone, "rev-parse", f"sisu/{result.life.run_id}^{{tree}}") == tree


def test_an_intent_is_written_from_a_checkout(result: Result) -> None:
    git(result.clone, "config", "remote.origin.url", "https://ann:secret@example.org/team/one.git")
    written = result.intent("--tests", "app/*.py", "--command", "python3", "--goal", "Do it")
    assert written == {
        "goal": "Do it",
        "inputs": {
            "repo": {"url": "https://example.org/team/one.git", "ref": git_text(result.clone, "rev-parse", "HEAD")},
            "tests": ["app/main.py", "app/old.py"],
            "testCommand": "python3",
        },
        "constraints": {},
    }
    git(result.clone, "remote", "remove", "origin")
    assert result.intent()["inputs"]["repo"]["path"] == str(result.clone)
    assert result.intent()["goal"] == "first"
