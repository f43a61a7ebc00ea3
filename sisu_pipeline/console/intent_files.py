"""Intent files that the CLI writes: from a template, and from the git checkout in a folder."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sisu_pipeline.console.exit_codes import Failure

_DEFAULT_COMMAND = "true"


def template() -> dict[str, Any]:
    """An intent with every input that the built-in planner reads, to be edited."""
    return {
        "goal": "Describe what is wanted",
        "inputs": {
            "repo": {"url": "https://HOST/PATH.git", "ref": "main"},
            "tests": [],
            "testCommand": _DEFAULT_COMMAND,
            "patches": [{"targetPath": "PATH", "postimageContent": "CONTENT\n"}],
        },
        "constraints": {},
    }


def from_checkout(
    folder: Path, rev: str, goal: str | None, tests: Sequence[str], command: str | None
) -> dict[str, Any]:
    """An intent that starts from a revision of the checkout in a folder.

    The repository is the https address of the remote `origin`; without one, the checkout itself. The goal is by
    default the subject of the revision's commit. `tests` are patterns of files in the revision. Raises Failure.
    """
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
    if commit is None:
        raise Failure(f"{rev} is not a commit of a git repository in {folder}", "no_commit")
    inputs: dict[str, Any] = {"repo": {**_place(folder), "ref": commit}}
    names = _matching(folder, commit, tests)
    if names:
        inputs["tests"] = names
    inputs["testCommand"] = command or _DEFAULT_COMMAND
    subject = goal or _git(folder, "show", "--no-patch", "--format=%s", commit)
    return {"goal": subject or commit, "inputs": inputs, "constraints": {}}


def _place(folder: Path) -> dict[str, str]:
    address = _git(folder, "config", "--get", "remote.origin.url")
    if address is not None and address.startswith("https://"):
        parsed = urlsplit(address)
        # A token in the address is the user's own, and no part of an intent.
        return {"url": urlunsplit((*parsed[:1], parsed.netloc.rpartition("@")[2], *parsed[2:]))}
    top = _git(folder, "rev-parse", "--show-toplevel") or _git(folder, "rev-parse", "--absolute-git-dir")
    return {"path": str(top)}


def _matching(folder: Path, commit: str, patterns: Sequence[str]) -> list[str]:
    names: list[str] = []
    for pattern in patterns:
        found = _git(folder, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit) or ""
        matched = [name for name in found.split("\0") if name and Path(name).match(pattern)]
        if not matched:
            raise Failure(f"no file of {commit[:12]} matches {pattern}", "no_tests")
        names += [name for name in matched if name not in names]
    return names


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of the user's own git; None when it fails. Raises Failure when there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S607
    except FileNotFoundError:
        raise Failure("git is not installed", "no_git") from None
    return done.stdout.strip() if done.returncode == 0 else None
