"""Repositories over https: credentials come from a file and appear nowhere else."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.git.git_errors import GitError, GitRefused, GitUnavailable
from resources.git.mirrors import Mirrors, MirrorSettings
from resources.git.repository_address import Address, AllowedRepositories
from resources.git.result_commits import push_compare_and_swap
from tests.integration.git.https_server import PASSWORD, USER, GitServer, serve
from tests.integration.git.repositories import git_text, make_repository

_RUN = "run_" + "1" * 32


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    make_repository(tmp_path / "served/project", {"README.md": "one\n"})
    with serve(tmp_path, tmp_path / "served") as running:
        yield running


def _address(server: GitServer, name: str = "project") -> Address:
    return AllowedRepositories((server.url,)).address(f"{server.url}/{name}/.git", None)


def _mirrors(tmp_path: Path, server: GitServer, *, password: str | None = PASSWORD, trusts: bool = True) -> Mirrors:
    file = tmp_path / "it's credentials"  # a name that a shell must not split
    file.write_text(f"{server.url.replace('://', f'://{USER}:{password}@')}\n")
    file.chmod(0o600)
    return Mirrors(
        MirrorSettings(
            tmp_path / "mirrors",
            timeout_s=60,
            credentials=file if password is not None else None,
            ca_file=server.certificate if trusts else None,
        )
    )


def test_a_fetch_and_a_push_use_the_credentials_of_the_file(tmp_path: Path, server: GitServer) -> None:
    mirrors, address = _mirrors(tmp_path, server), _address(server)
    before = (tmp_path / "it's credentials").read_text()
    commit = mirrors.resolve_ref(address, "main")
    assert commit == git_text(tmp_path / "served/project", "rev-parse", "main")
    assert mirrors.require(address, commit)
    made = mirrors.git(address).text(
        *("commit", "commit-tree", "-p", commit, "-m", "result", f"{commit}^{{tree}}"),
        environment={f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    )
    assert push_compare_and_swap(mirrors, address, made, _RUN)
    assert not push_compare_and_swap(mirrors, address, made, _RUN)
    assert git_text(tmp_path / "served/project", "rev-parse", f"sisu/{_RUN}") == made
    assert (tmp_path / "it's credentials").read_text() == before


def test_the_password_is_on_no_command_line_and_in_no_file_of_the_mirror(tmp_path: Path, server: GitServer) -> None:
    mirrors, address = _mirrors(tmp_path, server), _address(server)
    seen: set[bytes] = set()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        seen.add((process / name).read_bytes())
                    except OSError:
                        continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(3):
            mirrors.resolve_ref(address, "main")
    finally:
        is_over.set()
        watcher.join()
    assert any(server.url.encode() in text for text in seen), "git was seen at work"
    assert not any(PASSWORD.encode() in text for text in seen)
    files = [file for file in (tmp_path / "mirrors").rglob("*") if file.is_file()]
    assert not any(PASSWORD.encode() in file.read_bytes() for file in files)


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_refused_password_is_a_sentence_without_the_password(
    tmp_path: Path, server: GitServer, password: str | None
) -> None:
    with pytest.raises(GitRefused, match="the server refuses access") as refusal:
        _mirrors(tmp_path, server, password=password).resolve_ref(_address(server), "main")
    assert "wrong" not in str(refusal.value)


def test_a_certificate_that_is_not_trusted_is_refused(tmp_path: Path, server: GitServer) -> None:
    with pytest.raises(GitRefused, match="certificate is not trusted"):
        _mirrors(tmp_path, server, trusts=False).resolve_ref(_address(server), "main")


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (404, GitRefused, "there is no such repository"),
        (403, GitRefused, "the server refuses access"),
        (301, GitRefused, "cannot fetch main"),
        (429, GitUnavailable, "429"),
        (503, GitUnavailable, "503"),
    ],
)
def test_answers_of_a_server_are_classified(
    tmp_path: Path, server: GitServer, status: int, kind: type[GitError], sentence: str
) -> None:
    server.statuses["project"] = status
    with pytest.raises(kind, match=sentence):
        _mirrors(tmp_path, server).resolve_ref(_address(server), "main")


def test_a_subdirectory_named_like_a_repository_is_no_way_around_the_rules(server: GitServer) -> None:
    with pytest.raises(GitRefused, match="does not allow"):
        AllowedRepositories((f"{server.url}/team",)).address(f"{server.url}/teamwork", None)
