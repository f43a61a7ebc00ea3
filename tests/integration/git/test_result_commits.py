"""The commit of a result: a function of its input, handed out as a bundle, a patch and a pushed branch."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resources.git.git_errors import GitRefused
from resources.git.mirrors import Mirrors
from resources.git.repository_address import Address
from resources.git.result_commits import (
    CommitText,
    Signature,
    bundle,
    format_patch,
    push_compare_and_swap,
    result_commit,
    set_branch,
)
from sisu_pipeline.domain.changes.file_diff import FileState
from tests.integration.git.repositories import address_of, git, git_text, make_repository, mirrors_in

_RUN = "run_" + "0" * 32
_BRANCH = f"sisu/{_RUN}"
_WHEN = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
_CHANGES: dict[str, FileState | None] = {
    "README.md": FileState(b"two\r\n"),
    "bin/run": FileState(b"#!/bin/sh\n", "100755"),
    "logo.bin": FileState(b"\0\xff\0"),
    "old.txt": None,
}


class Base:
    """A project, its mirror and its commit."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.commit = make_repository(self.project, {"README.md": "one\n", "old.txt": "1\n", "kept.txt": "1\n"})
        self.mirrors: Mirrors = mirrors_in(folder)
        self.address: Address = address_of(self.project)
        self.git = self.mirrors.git(self.address)
        assert self.mirrors.resolve_ref(self.address, "main") == self.commit

    def result(self, name: str = "Ann", changes: dict[str, FileState | None] | None = None) -> str:
        """The id of the result's commit."""
        message = CommitText("Say two", "Because.", [("Approved-by", "bob"), ("Sisu-Intent", "ih_1")])
        signature = Signature(name, "ann@example.org", _WHEN)
        return result_commit(self.git, self.commit, _CHANGES if changes is None else changes, signature, message)


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path)


def _branch_in(repository: Path) -> str:
    return git_text(repository, "rev-parse", "--verify", f"refs/heads/{_BRANCH}")


def test_the_same_input_is_the_same_commit_in_another_mirror(base: Base, tmp_path: Path) -> None:
    elsewhere = mirrors_in(tmp_path / "elsewhere")
    elsewhere.resolve_ref(base.address, "main")
    message = CommitText("Say two", "Because.", [("Approved-by", "bob"), ("Sisu-Intent", "ih_1")])
    signature = Signature("Ann", "ann@example.org", _WHEN)
    assert base.result() == result_commit(elsewhere.git(base.address), base.commit, _CHANGES, signature, message)
    assert base.result() != base.result("Bob")


def test_the_commit_has_the_message_the_author_and_the_trailers(base: Base) -> None:
    commit = base.result()
    shown = base.git.text("show", "show", "-s", "--format=%an|%ae|%aI|%cn|%P|%B", commit)
    assert shown == (
        f"Ann|ann@example.org|2026-01-02T03:04:05+00:00|Ann|{base.commit}|Say two\n\nBecause.\n\n"
        "Approved-by: bob\nSisu-Intent: ih_1"
    )


def test_a_name_cannot_forge_a_header_or_a_trailer(base: Base) -> None:
    commit = base.result("Ann <x>\ncommitter Eve <eve@example.org> 1 +0000")
    raw = base.git.text("show", "cat-file", "commit", commit)
    assert [line.split()[0] for line in raw.split("\n\n")[0].splitlines()] == [
        "tree",
        "parent",
        "author",
        "committer",
    ]
    text = CommitText("a\nb", trailers=[("Approved-by", "bob\nApproved-by: eve")]).text
    assert text == "a b\n\nApproved-by: bob Approved-by: eve\n"


def test_the_bundle_and_the_mailbox_lead_a_clone_to_the_same_tree(base: Base, tmp_path: Path) -> None:
    commit = base.result()
    set_branch(base.git, _RUN, commit)
    (tmp_path / "result.bundle").write_bytes(bundle(base.git, base.commit, _RUN))
    git(tmp_path, "clone", "--quiet", str(base.project), "clone")
    git(tmp_path / "clone", "fetch", "--quiet", str(tmp_path / "result.bundle"), f"{_BRANCH}:{_BRANCH}")
    assert _branch_in(tmp_path / "clone") == commit
    git(tmp_path / "clone", "am", "--quiet", "--keep-cr", stdin=format_patch(base.git, base.commit, commit))
    tree = git_text(tmp_path / "clone", "rev-parse", "HEAD^{tree}")
    assert tree == git_text(tmp_path / "clone", "rev-parse", f"{_BRANCH}^{{tree}}")


def test_the_branch_is_pushed_once_with_exactly_this_commit(base: Base) -> None:
    commit = base.result()
    assert push_compare_and_swap(base.mirrors, base.address, commit, _RUN)
    assert not push_compare_and_swap(base.mirrors, base.address, commit, _RUN)
    assert _branch_in(base.project) == commit
    assert git_text(base.project, "show", f"{_BRANCH}:kept.txt") == "1"


@pytest.mark.parametrize("other", ["base", "ancestor", "unrelated"])
def test_a_branch_with_another_commit_is_never_overwritten(base: Base, other: str) -> None:
    if other == "unrelated":
        git(base.project, "checkout", "--quiet", "--orphan", "other")
        make_repository(base.project, {"x": "1"})
    git(base.project, "branch", _BRANCH)
    before = _branch_in(base.project)
    with pytest.raises(GitRefused, match="exists with another commit"):
        push_compare_and_swap(base.mirrors, base.address, base.result(), _RUN)
    assert _branch_in(base.project) == before


def test_pushes_at_once_end_with_one_commit(base: Base) -> None:
    commits = [base.result(name) for name in ("Ann", "Bob", "Cy", "Dee")]
    pushed: list[str] = []

    def push(commit: str) -> None:
        try:
            if push_compare_and_swap(base.mirrors, base.address, commit, _RUN):
                pushed.append(commit)
        except GitRefused:
            return

    threads = [threading.Thread(target=push, args=(commit,)) for commit in commits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pushed == [_branch_in(base.project)]


def test_no_hook_of_the_receiving_repository_runs(base: Base, tmp_path: Path) -> None:
    for name in (
        "pre-receive",
        "update",
        "post-receive",
        "post-update",
        "reference-transaction",
        "push-to-checkout",
    ):
        hook = base.project / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        hook.chmod(0o755)
    git(base.project, "config", "core.hooksPath", str(base.project / ".git/hooks"))
    assert push_compare_and_swap(base.mirrors, base.address, base.result(), _RUN)
    assert not (tmp_path / "ran").exists()


def test_a_path_that_means_the_git_folder_is_refused(base: Base) -> None:
    for path in (".git/config", "a/../b", "git~1/config", "/etc/passwd"):
        with pytest.raises(GitRefused, match="cannot change the tree"):
            base.result(changes={path: FileState(b"x")})


def test_the_local_branch_is_created_once(base: Base) -> None:
    commit = base.result()
    set_branch(base.git, _RUN, commit)
    set_branch(base.git, _RUN, commit)
    with pytest.raises(GitRefused, match="another commit"):
        set_branch(base.git, _RUN, base.result("Bob"))
