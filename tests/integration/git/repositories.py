"""Repositories that tests make with real git, ordinary and hostile ones."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from resources.git.mirrors import Mirrors, MirrorSettings
from resources.git.repository_address import Address, AllowedRepositories

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
}


def git(folder: Path, *arguments: str, stdin: bytes = b"", **variables: str) -> bytes:
    """Run git as a person would, in a folder; returns its output."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        env={**_ENVIRONMENT, **variables},
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def git_text(folder: Path, *arguments: str) -> str:
    """The output as text without the line end."""
    return git(folder, *arguments).decode().strip()


def make_repository(folder: Path, files: Mapping[str, str | bytes], message: str = "first") -> str:
    """Create or extend a repository by one commit with these files; returns the commit's id."""
    if not (folder / ".git").exists():
        folder.mkdir(parents=True, exist_ok=True)
        git(folder, "init", "--quiet", "--initial-branch=main")
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return git_text(folder, "rev-parse", "HEAD")


def address_of(folder: Path) -> Address:
    """The address of a repository on this machine, which is allowed."""
    return AllowedRepositories((str(folder.parent),)).address(None, str(folder))


def mirrors_in(folder: Path, quota_mb: int = 64, timeout_s: float = 60) -> Mirrors:
    """Mirrors in a folder of a test."""
    return Mirrors(MirrorSettings(folder / "mirrors", quota_mb=quota_mb, timeout_s=timeout_s))
