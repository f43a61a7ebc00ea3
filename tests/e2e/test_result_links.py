"""The run's page leads to its result: downloads that git applies, and commands for a checkout."""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from resources.database import Database
from resources.git.repository_address import AllowedRepositories
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.workflow import run_push
from tests.builders import new_recipe
from tests.e2e.browser import Browser
from tests.e2e.test_inbox import page
from tests.integration.api.conftest import Api, Live, api, dependencies_over, serving
from tests.integration.gate.world import Waiting
from tests.integration.git.repositories import git, git_text, make_repository, mirrors_in
from tests.integration.test_repository_runs import PROJECT_FILES, PROJECT_PATCHES

__all__ = ["api", "page"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def project(folder: Path) -> Path:
    make_repository(folder / "projects/one", PROJECT_FILES)
    return folder / "projects/one"


@pytest.fixture(scope="module")
def live(database: Database, folder: Path, project: Path) -> Iterator[Live]:
    """An API that allows the repository."""
    dependencies = replace(
        dependencies_over(database, folder),
        mirrors=mirrors_in(folder),
        allowed_repositories=AllowedRepositories((str(project.parent),)),
    )
    with serving(dependencies) as running:
        yield running


@pytest.fixture
def run(api: Api, project: Path) -> Waiting:
    """A run with a repository that waits at its plan gate."""
    repo = {"path": str(project), "ref": "main"}
    return Waiting(api.dependencies, repo=repo, patches=PROJECT_PATCHES, tests=[], testCommand="true")


@pytest.fixture
def clone(project: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "--quiet", str(project), "clone")
    return tmp_path / "clone"


def download(page: Browser, link: str, folder: Path) -> Path:
    """Click a link of the result; returns the file once it is complete."""
    folder.mkdir()
    page.downloads(folder)
    page.one("#results a", link).click()
    page.until(lambda: any(file.suffix not in (".crdownload", ".tmp") for file in folder.iterdir()))
    (file,) = folder.iterdir()
    return file


def test_downloads_of_the_page_lead_a_checkout_to_the_approved_tree(
    page: Browser, api: Api, run: Waiting, clone: Path, tmp_path: Path
) -> None:
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("#results", "sisu run apply")
    assert [link.text for link in page.driver.find_elements(By.CSS_SELECTOR, "#results a")] == [
        "Patch",
        "Changed files",
    ]
    run.say(Decision.APPROVED)
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("#results a", "Bundle")

    git(clone, "apply", "--index", str(download(page, "Patch", tmp_path / "patch")))
    tree = git_text(clone, "write-tree")
    bundle = download(page, "Bundle", tmp_path / "bundle")
    branch = f"sisu/{run.run_id}"
    git(clone, "fetch", "--quiet", str(bundle), f"{branch}:{branch}")
    assert git_text(clone, "rev-parse", f"{branch}^{{tree}}") == tree
    with zipfile.ZipFile(download(page, "Changed files", tmp_path / "files")) as archive:
        for name in archive.namelist():
            assert archive.read(name) == (clone / name).read_bytes()
    assert page.faults() == []
    assert page.complaints() == []


def test_a_command_is_copied_as_it_is_shown(page: Browser, api: Api, run: Waiting) -> None:
    run.say(Decision.APPROVED)
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("#results button")
    shown = [code.text for code in page.driver.find_elements(By.CSS_SELECTOR, "#results code")]
    assert shown == [f"sisu run apply {run.run_id}", f"sisu run apply {run.run_id} --branch"]
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    buttons = page.driver.find_elements(By.CSS_SELECTOR, "#results button")
    for command, button in zip(shown, buttons, strict=True):
        button.send_keys(Keys.ENTER)
        page.until(partial(is_copied, page, command))
    page.one("#announcement", "Copied")


def test_the_page_shows_the_push_before_the_approval_and_follows_it(page: Browser, api: Api, project: Path) -> None:
    with api.dependencies.database.connect() as connection:
        new_recipe(connection, "pushing", push={"remote": "origin"})
    run = Waiting(
        api.dependencies,
        request={"recipeName": "pushing"},
        repo={"path": str(project), "ref": "main"},
        patches=PROJECT_PATCHES,
        tests=[],
        testCommand="true",
    )
    page.open(f"{api.url}/#/runs/{run.run_id}")
    branch = f"sisu/{run.run_id}"
    page.one("#execution dd", f"branch {branch} to {project}, once the run has succeeded")
    run.say(Decision.APPROVED)
    run.segment()
    page.open(f"{api.url}/#/runs/{run.run_id}")
    page.one("#push", f"Pushing branch {branch} to {project}")
    assert run_push.push_due(api.dependencies) == 1
    page.one("#push", f"commit {git_text(project, 'rev-parse', branch)}")
    assert page.faults() == []


def is_copied(page: Browser, text: str) -> bool:
    """Whether the clipboard has this text."""
    return bool(page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])") == text)
