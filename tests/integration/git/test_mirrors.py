"""Mirrors: references become commits, and what may not be fetched is refused with a sentence."""

import random
import threading
from pathlib import Path

import pytest

from resources.git.git_errors import GitRefused, GitUnavailable
from resources.git.git_trees import apply_changes_to_tree, list_tree, read_files, tree_of, write_folder
from resources.git.mirrors import Mirrors, MirrorSettings
from resources.git.repository_address import AllowedRepositories, RuleInvalid
from sisu_pipeline.domain.changes.file_diff import FileState
from tests.integration.git.repositories import address_of, git, git_text, make_repository, mirrors_in


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    make_repository(folder, {"README.md": "one\n"})
    make_repository(folder, {"README.md": "two\n", "src/app.py": "x = 1\n", "bin/run": "#!/bin/sh\n"}, "second")
    (folder / "bin/run").chmod(0o755)
    make_repository(folder, {}, "executable")
    git(folder, "tag", "-a", "-m", "release", "v1.0")
    return folder


@pytest.mark.parametrize("ref", ["main", "refs/heads/main", "v1.0", "HEAD"])
def test_a_reference_is_resolved_to_its_commit(repository: Path, tmp_path: Path, ref: str) -> None:
    assert mirrors_in(tmp_path).resolve_ref(address_of(repository), ref) == git_text(
        repository, "rev-parse", "HEAD"
    )


def test_a_full_commit_id_is_fetched_even_when_no_branch_points_to_it(repository: Path, tmp_path: Path) -> None:
    earlier = git_text(repository, "rev-parse", "HEAD~1")
    mirrors, address = mirrors_in(tmp_path), address_of(repository)
    assert mirrors.resolve_ref(address, earlier) == earlier
    files = read_files(mirrors.git(address), tree_of(mirrors.git(address), earlier), ["README.md", "absent"])
    assert files == {"README.md": FileState(b"two\n"), "absent": None}


def test_a_moved_branch_leaves_the_earlier_commit_in_the_mirror(repository: Path, tmp_path: Path) -> None:
    mirrors, address = mirrors_in(tmp_path), address_of(repository)
    first = mirrors.resolve_ref(address, "main")
    second = make_repository(repository, {"README.md": "three\n"}, "third")
    assert mirrors.resolve_ref(address, "main") == second
    git(repository.parent, "-C", str(mirrors.path(address)), "gc", "--quiet", "--prune=now")
    assert tree_of(mirrors.require(address, first), first)


def test_a_commit_that_is_missing_from_the_mirror_is_fetched_again(repository: Path, tmp_path: Path) -> None:
    commit = mirrors_in(tmp_path / "one").resolve_ref(address_of(repository), "main")
    elsewhere = mirrors_in(tmp_path / "two").require(address_of(repository), commit)
    assert {entry.path for entry in list_tree(elsewhere, tree_of(elsewhere, commit))} == {
        *("README.md", "bin/run", "src/app.py")
    }


def test_fetches_of_one_repository_at_once_agree(repository: Path, tmp_path: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(mirrors_in(tmp_path).resolve_ref(address_of(repository), "main"))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [git_text(repository, "rev-parse", "HEAD")] * 4


def test_a_tree_is_written_with_modes_and_below_a_subdirectory(repository: Path, tmp_path: Path) -> None:
    mirrors, address = mirrors_in(tmp_path), address_of(repository)
    commit = mirrors.resolve_ref(address, "main")
    git_ = mirrors.git(address)
    write_folder(git_, tree_of(git_, commit), tmp_path / "whole")
    write_folder(git_, tree_of(git_, commit, "src"), tmp_path / "part")
    write_folder(git_, tree_of(git_, commit, "src"), tmp_path / "part")  # again: nothing changes
    assert (tmp_path / "whole/bin/run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "whole/README.md").read_text() == "two\n"
    assert [path.name for path in (tmp_path / "part").iterdir()] == ["app.py"]
    assert not list(tmp_path.glob(".whole*"))


@pytest.mark.parametrize(
    ("ref", "sentence"),
    [("absent", "no such branch, tag or commit"), ("0" * 40, "no such branch, tag or commit")],
)
def test_an_unknown_reference_is_refused(repository: Path, tmp_path: Path, ref: str, sentence: str) -> None:
    with pytest.raises(GitRefused, match=sentence):
        mirrors_in(tmp_path).resolve_ref(address_of(repository), ref)


def test_a_tag_of_a_file_names_no_commit(repository: Path, tmp_path: Path) -> None:
    git(repository, "tag", "file", "HEAD:README.md")
    with pytest.raises(GitRefused, match="cannot find the commit of file"):
        mirrors_in(tmp_path).resolve_ref(address_of(repository), "file")


def test_a_folder_without_a_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(GitRefused, match="no such repository"):
        mirrors_in(tmp_path).resolve_ref(address_of(tmp_path / "empty"), "main")


def test_a_subdirectory_that_is_a_file_or_absent_is_refused(repository: Path, tmp_path: Path) -> None:
    mirrors, address = mirrors_in(tmp_path), address_of(repository)
    commit = mirrors.resolve_ref(address, "main")
    for subdirectory in ("README.md", "absent"):
        with pytest.raises(GitRefused, match=f"no folder {subdirectory}"):
            tree_of(mirrors.git(address), commit, subdirectory)


def test_a_repository_of_a_server_that_cannot_be_reached_may_be_tried_again(tmp_path: Path) -> None:
    address = AllowedRepositories(("https",)).address("https://localhost:1/project.git", None)
    with pytest.raises(GitUnavailable, match="cannot fetch main"):
        mirrors_in(tmp_path).resolve_ref(address, "main")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://example.org/a", "must be https"),
        ("ext::sh -c touch% /tmp/owned", "must be https"),
        ("ssh://example.org/a", "must be https"),
        ("file:///etc", "must be https"),
        ("--upload-pack=touch /tmp/owned", "must be https"),
        ("https://user:secret@example.org/a", "must not contain a user"),
        ("https://example.org/a?x=1", "without a query"),
        ("https://example.org/../a", "must be https"),
        ("https://example.org:port/a", "not valid"),
        ("https://example.org\n/a", "does not allow|must be https"),
        ("https://other.org/a", "does not allow"),
        ("https://example.org.evil.org/team/a", "does not allow"),
        ("https://example.org/team-evil/a", "does not allow"),
    ],
)
def test_an_address_outside_the_rules_is_refused_and_never_repeats_a_password(url: str, sentence: str) -> None:
    with pytest.raises(GitRefused, match=sentence) as refusal:
        AllowedRepositories(("https://example.org/team",)).address(url, None)
    assert "secret" not in str(refusal.value)


def test_a_link_out_of_the_allowed_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "allowed").mkdir()
    make_repository(tmp_path / "outside", {"a": "1"})
    (tmp_path / "allowed/link").symlink_to(tmp_path / "outside")
    allowed = AllowedRepositories((str(tmp_path / "allowed"),))
    for path in (tmp_path / "allowed/link", tmp_path / "allowed/../outside", Path("relative")):
        with pytest.raises(GitRefused, match="does not allow"):
            allowed.address(None, str(path))


def test_without_rules_no_repository_is_allowed(tmp_path: Path) -> None:
    for url, path in (("https://example.org/a", None), (None, str(tmp_path))):
        with pytest.raises(GitRefused, match="SISU_GIT_ALLOW"):
            AllowedRepositories().address(url, path)


@pytest.mark.parametrize("rule", ["http://example.org", "relative/folder", "ssh", "https://u:p@example.org"])
def test_a_rule_that_is_neither_https_nor_a_folder_is_an_error(rule: str) -> None:
    with pytest.raises(RuleInvalid):
        AllowedRepositories.parse(f"https,{rule}")


def test_a_repository_beyond_its_quota_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    make_repository(tmp_path / "big", {"noise": random.Random(1).randbytes(3 * 1024 * 1024)})
    mirrors = mirrors_in(tmp_path, quota_mb=1)
    with pytest.raises(GitRefused, match="quota"):
        mirrors.resolve_ref(address_of(tmp_path / "big"), "main")
    left = sum(path.stat().st_size for path in (tmp_path / "mirrors").rglob("*") if path.is_file())
    assert left < 1024 * 1024


def test_commits_of_earlier_runs_make_room_within_the_quota(tmp_path: Path) -> None:
    mirrors, folder = mirrors_in(tmp_path, quota_mb=4), tmp_path / "growing"
    for name in ("a", "b", "c"):
        make_repository(folder, {"noise": random.Random(name).randbytes(2 * 1024 * 1024)}, name)
        assert mirrors.resolve_ref(address_of(folder), "main") == git_text(folder, "rev-parse", "HEAD")


def test_a_fetch_that_takes_too_long_may_be_tried_again(tmp_path: Path, repository: Path) -> None:
    mirrors = Mirrors(MirrorSettings(tmp_path / "mirrors", timeout_s=0.001))
    with pytest.raises(GitUnavailable, match=r"within 0\.001 seconds|another process"):
        mirrors.resolve_ref(address_of(repository), "main")


def test_a_file_below_a_file_or_in_place_of_a_folder_is_refused(repository: Path, tmp_path: Path) -> None:
    mirrors, address = mirrors_in(tmp_path), address_of(repository)
    tree = tree_of(mirrors.git(address), mirrors.resolve_ref(address, "main"))
    for path in ("README.md/inner", "src"):
        with pytest.raises(GitRefused, match=r"not a folder|is a folder"):
            read_files(mirrors.git(address), tree, [path])
        with pytest.raises(GitRefused, match="would be replaced"):
            apply_changes_to_tree(mirrors.git(address), tree, {path: FileState(b"x")})


def test_names_that_look_like_options_or_patterns_are_names(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    make_repository(folder, {"--help": "1", "*": "2", ":(top)x": "3", "a\nb": "4", "é": "5", "a": "6"})
    mirrors, address = mirrors_in(tmp_path), address_of(folder)
    tree = tree_of(mirrors.git(address), mirrors.resolve_ref(address, "main"))
    found = read_files(mirrors.git(address), tree, ["--help", "*", ":(top)x", "a\nb", "é"])
    assert [state and state.content for state in found.values()] == [b"1", b"2", b"3", b"4", b"5"]
    changed = apply_changes_to_tree(mirrors.git(address), tree, {"--help": None, "*": FileState(b"new"), "é": None})
    assert {entry.path for entry in list_tree(mirrors.git(address), changed)} == {"*", ":(top)x", "a\nb", "a"}
