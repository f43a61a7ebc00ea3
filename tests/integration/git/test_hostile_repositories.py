"""A corpus of hostile repositories: whatever they name, nothing of theirs runs outside a sandbox."""

import os
import shutil
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.git.git_command import Bounds, Git
from resources.git.git_errors import GitError, GitRefused, GitUnavailable
from resources.git.git_trees import TreeLimits, read_files, tree_of, write_folder
from resources.git.scratch_folders import checkout_scratch, tree_changes
from tests.integration.git.repositories import address_of, git, git_text, make_repository, mirrors_in

_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 1\n"


class Trap:
    """A program that leaves a mark when it runs."""

    def __init__(self, folder: Path) -> None:
        self.mark = folder / "ran"
        self.program = folder / "trap"
        self.program.write_text(f"#!/bin/sh\ntouch {self.mark}\ncat\n")
        self.program.chmod(0o755)

    @property
    def ran(self) -> bool:
        """Whether the program ran."""
        return self.mark.exists()


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path)


_HOOKS = (
    *("post-checkout", "pre-receive", "update", "post-receive", "post-update", "reference-transaction"),
    *("post-index-change", "proc-receive", "pre-commit", "push-to-checkout", "pre-push", "fsmonitor-watchman"),
)
_PROGRAMS = (
    *("core.fsmonitor", "core.alternateRefsCommand", "core.sshCommand", "core.askPass", "core.editor"),
    *("core.gitProxy", "credential.helper", "diff.external", "uploadpack.packObjectsHook", "filter.trap.clean"),
    *("filter.trap.smudge", "filter.trap.process", "diff.trap.textconv", "diff.trap.command", "merge.trap.driver"),
)


def _hooks(repository: Path, trap: Trap) -> None:
    """Every hook that a server or a checkout knows."""
    hooks = repository / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in _HOOKS:
        shutil.copy(trap.program, hooks / name)


def _configuration(repository: Path, trap: Trap) -> None:
    """Programs in the configuration of the repository itself."""
    program = str(trap.program)
    for name in _PROGRAMS:
        git(repository, "config", name, program)
    git(repository, "config", "core.hooksPath", str(repository / ".git/hooks"))


def _attributes(repository: Path, trap: Trap) -> None:
    """Attributes that name drivers and conversions."""
    text = b"* filter=trap diff=trap merge=trap text eol=crlf ident working-tree-encoding=UTF-16\n"
    # By its object: in the work tree the attributes would already apply.
    blob = git(repository, "hash-object", "-w", "--no-filters", "--stdin", stdin=text).decode().strip()
    git(repository, "update-index", "--add", "--cacheinfo", f"100644,{blob},.gitattributes")
    tree = git_text(repository, "write-tree")
    git(repository, "update-ref", "HEAD", git_text(repository, "commit-tree", "-m", "attributes", tree))


def _alternates(repository: Path, trap: Trap) -> None:
    """An alternate object folder, whose references a command of the configuration would list."""
    other = repository.parent / "alternate"
    make_repository(other, {"a": "1"})
    (repository / ".git/objects/info").mkdir(exist_ok=True)
    (repository / ".git/objects/info/alternates").write_text(f"{other}/.git/objects\n")


def _promisor(repository: Path, trap: Trap) -> None:
    """A partial clone, which git completes from a remote helper that runs a program."""
    git(repository, "config", "extensions.partialClone", "origin")
    git(repository, "config", "core.repositoryFormatVersion", "1")
    git(repository, "config", "remote.origin.promisor", "true")
    git(repository, "config", "remote.origin.url", f"ext::{trap.program}")
    git(repository, "config", "protocol.allow", "always")
    git(repository, "config", "protocol.ext.allow", "always")
    blob = git_text(repository, "rev-parse", "HEAD:README.md")
    (repository / ".git/objects" / blob[:2] / blob[2:]).unlink()


_REMOTES: list[Callable[[Path, Trap], None]] = [_attributes, _hooks, _configuration, _alternates, _promisor]


def _everything(mirrors_folder: Path, repository: Path) -> None:
    """Fetch, write the tree, make a scratch and read it back: all that the worker does before a sandbox starts."""
    mirrors, address = mirrors_in(mirrors_folder), address_of(repository)
    commit = mirrors.resolve_ref(address, "main")
    ours = mirrors.git(address)
    write_folder(ours, tree_of(ours, commit), mirrors_folder / "folder")
    checkout_scratch(ours, commit, mirrors_folder / "scratch")
    (mirrors_folder / "scratch/new.txt").write_text("new\n")
    assert set(tree_changes(ours, commit, mirrors_folder / "scratch").changes) == {"new.txt"}


@pytest.mark.parametrize("prepare", _REMOTES, ids=lambda prepare: prepare.__name__)
def test_no_program_of_a_repository_runs(tmp_path: Path, trap: Trap, prepare: Callable[[Path, Trap], None]) -> None:
    repository = tmp_path / "hostile"
    make_repository(repository, {"README.md": "$Id$\nline\n"})
    prepare(repository, trap)
    try:
        _everything(tmp_path, repository)
    except GitError:
        assert prepare is _promisor, "only the repository with a missing object cannot be fetched"
    assert not trap.ran


def test_attributes_do_not_change_a_byte(tmp_path: Path, trap: Trap) -> None:
    repository = tmp_path / "hostile"
    make_repository(repository, {"README.md": "$Id$\nline\n"})
    _attributes(repository, trap)
    _everything(tmp_path, repository)
    for folder in ("folder", "scratch"):
        assert (tmp_path / folder / "README.md").read_bytes() == b"$Id$\nline\n"


def test_the_traps_work_when_git_is_run_carelessly(tmp_path: Path, trap: Trap) -> None:
    repository = tmp_path / "hostile"
    make_repository(repository, {"README.md": "line\n"})
    _configuration(repository, trap)
    git(repository, "status")
    assert trap.ran


def test_what_an_agent_writes_into_its_own_git_folder_does_not_run(tmp_path: Path, trap: Trap) -> None:
    repository = tmp_path / "project"
    make_repository(repository, {"README.md": "line\n"})
    mirrors, address = mirrors_in(tmp_path), address_of(repository)
    commit = mirrors.resolve_ref(address, "main")
    scratch = tmp_path / "scratch"
    checkout_scratch(mirrors.git(address), commit, scratch)
    _hooks(scratch, trap)
    _configuration(scratch, trap)
    (scratch / ".gitattributes").write_text("* filter=trap diff=trap\n")
    (scratch / "README.md").write_text("changed\n")
    assert set(tree_changes(mirrors.git(address), commit, scratch).changes) == {".gitattributes", "README.md"}
    assert not trap.ran


def test_a_submodule_is_never_fetched(tmp_path: Path, trap: Trap) -> None:
    repository = tmp_path / "hostile"
    first = make_repository(
        repository, {".gitmodules": f'[submodule "m"]\n\tpath = m\n\turl = {tmp_path / "absent"}\n', "a": "1"}
    )
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{first},m")
    git(repository, "commit", "--quiet", "-m", "submodule")
    _everything(tmp_path, repository)
    assert list((tmp_path / "folder/m").iterdir()) == []


def test_a_submodule_whose_url_is_an_option_is_refused(tmp_path: Path, trap: Trap) -> None:
    repository = tmp_path / "hostile"
    make_repository(repository, {".gitmodules": f'[submodule "m"]\n\tpath = m\n\turl = -u{trap.program}\n'})
    with pytest.raises(GitRefused, match="gitmodulesUrl"):
        _everything(tmp_path, repository)


def test_links_stay_links_and_nothing_is_written_through_them(tmp_path: Path) -> None:
    repository, outside = tmp_path / "hostile", tmp_path / "outside"
    outside.mkdir()
    make_repository(repository, {"a": "1"})
    (repository / "passwd").symlink_to("/etc/passwd")
    (repository / "way").symlink_to(outside)
    make_repository(repository, {})
    _everything(tmp_path, repository)
    assert (tmp_path / "folder/passwd").readlink() == Path("/etc/passwd")
    mirrors, address = mirrors_in(tmp_path), address_of(repository)
    commit = mirrors.resolve_ref(address, "main")
    with pytest.raises(GitRefused, match="passwd is a symbolic link"):
        read_files(mirrors.git(address), tree_of(mirrors.git(address), commit), ["passwd"])
    assert not list(outside.iterdir())


def _tree(repository: Path, entries: list[tuple[str, str, str]]) -> str:
    """A tree object written byte by byte, because git refuses to make these."""
    content = b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(object_id) for mode, name, object_id in entries)
    return (
        git(repository, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=content).decode().strip()
    )


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".git\u200c", "..", "."])
def test_a_tree_with_a_name_that_means_the_git_folder_is_refused(tmp_path: Path, name: str) -> None:
    repository = tmp_path / "hostile"
    make_repository(repository, {"config": "[core]\n\tfsmonitor = touch /tmp/owned\n"})
    blob = git_text(repository, "rev-parse", "HEAD:config")
    inner = _tree(repository, [("100644", "config", blob)])
    commit = git_text(repository, "commit-tree", "-m", "hostile", _tree(repository, [("40000", name, inner)]))
    git(repository, "update-ref", "refs/heads/main", commit)
    with pytest.raises(GitRefused, match="git refuses an object"):
        _everything(tmp_path, repository)
    assert not (tmp_path / "folder").exists()


def test_a_tree_that_multiplies_without_end_is_refused(tmp_path: Path) -> None:
    repository = tmp_path / "hostile"
    make_repository(repository, {"a": "1"})
    tree, kind = git_text(repository, "rev-parse", "HEAD:a"), "100644"
    for _ in range(10):
        tree, kind = _tree(repository, [(kind, f"d{number}", tree) for number in range(10)]), "40000"
    commit = git_text(repository, "commit-tree", "-m", "bomb", tree)
    git(repository, "update-ref", "refs/heads/main", commit)
    mirrors, address = mirrors_in(tmp_path), address_of(repository)
    mirrors.resolve_ref(address, "main")
    small = Git(mirrors.path(address), bounds=Bounds(output_bytes=1_000_000))
    with pytest.raises(GitRefused, match="more than 1000000 bytes"):
        write_folder(small, tree_of(small, commit), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_a_file_that_grows_a_thousandfold_is_refused_before_it_is_written(tmp_path: Path) -> None:
    repository = tmp_path / "hostile"
    make_repository(repository, {"zeros": b"\0" * (20 * 1024 * 1024)})
    mirrors, address = mirrors_in(tmp_path), address_of(repository)
    ours = mirrors.git(address)
    tree = tree_of(ours, mirrors.resolve_ref(address, "main"))
    with pytest.raises(GitRefused, match="more than 1000000"):
        write_folder(ours, tree, tmp_path / "folder", TreeLimits(total_bytes=1_000_000))
    assert not (tmp_path / "folder").exists()


def test_a_damaged_object_is_refused(tmp_path: Path) -> None:
    repository = tmp_path / "hostile"
    make_repository(repository, {"a": "1"})
    blob = git_text(repository, "rev-parse", "HEAD:a")
    file = repository / ".git/objects" / blob[:2] / blob[2:]
    file.chmod(0o644)
    file.write_bytes(zlib.compress(b"blob 5\0other"))
    with pytest.raises(GitError):
        _everything(tmp_path, repository)


def test_a_repository_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder to another user")
    repository = tmp_path / "foreign"
    make_repository(repository, {"a": "1"})
    for path in (repository, *repository.rglob("*")):
        os.lchown(path, 4242, 4242)
    with pytest.raises(GitRefused, match="belongs to another user"):
        mirrors_in(tmp_path).resolve_ref(address_of(repository), "main")


def test_a_repository_with_other_object_ids_is_refused(tmp_path: Path) -> None:
    repository = tmp_path / "newer"
    repository.mkdir()
    git(repository, "init", "--quiet", "--object-format=sha256", "--initial-branch=main")
    make_repository(repository, {"a": "1"})
    with pytest.raises(GitRefused, match="SHA-1"):
        mirrors_in(tmp_path).resolve_ref(address_of(repository), "main")


def test_a_pointer_of_git_lfs_is_refused(tmp_path: Path) -> None:
    repository = tmp_path / "large"
    make_repository(repository, {"model.bin": _POINTER})
    mirrors, address = mirrors_in(tmp_path), address_of(repository)
    commit = mirrors.resolve_ref(address, "main")
    with pytest.raises(GitRefused, match=r"model\.bin is stored in Git LFS"):
        read_files(mirrors.git(address), tree_of(mirrors.git(address), commit), ["model.bin"])


@pytest.mark.parametrize("protocol", ["ext", "ssh", "http", "git", "file", "https"])
def test_a_transport_is_off_unless_a_command_allows_it(tmp_path: Path, trap: Trap, protocol: str) -> None:
    mirrors, address = mirrors_in(tmp_path), address_of(tmp_path / "project")
    make_repository(tmp_path / "project", {"a": "1"})
    mirrors.resolve_ref(address, "main")
    url = f"ext::{trap.program}" if protocol == "ext" else f"{protocol}://localhost:1/a"
    with pytest.raises(GitRefused, match=f"transport '{protocol}' not allowed|is not allowed"):
        mirrors.git(address).run("fetch", "fetch", "--", url)
    assert not trap.ran


def test_a_server_that_never_answers_ends_with_its_whole_process_group(tmp_path: Path) -> None:
    mirrors, address = mirrors_in(tmp_path), address_of(tmp_path / "project")
    make_repository(tmp_path / "project", {"a": "1"})
    mirrors.resolve_ref(address, "main")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    slow = Git(mirrors.path(address), protocols=("file",), bounds=Bounds(seconds=0.5))
    with pytest.raises(GitUnavailable, match=r"within 0\.5 seconds"):
        slow.run("fetch", "fetch", f"--upload-pack=cat {fifo} #", "--", str(tmp_path / "project"), "main")
    readers = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(fifo).encode() in _read(path)]
    assert not readers


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_an_index_file_in_a_repository_is_never_read(tmp_path: Path) -> None:
    repository = tmp_path / "hostile"
    make_repository(repository, {"a": "1"})
    (repository / ".git/index").write_bytes(b"DIRC" + struct.pack(">II", 2, 1_000_000))
    _everything(tmp_path, repository)
