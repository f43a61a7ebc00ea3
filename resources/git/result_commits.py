"""The commit of a run's result: reproducible, and handed out as a bundle, a patch or a pushed branch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from resources.git.git_command import Git
from resources.git.git_errors import GitRefused, GitUnavailable
from resources.git.git_trees import Changes, apply_changes_to_tree, tree_of
from resources.git.mirrors import Mirrors, program
from resources.git.repository_address import Address

_NEW = "0" * 40
_DIFF = ("--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-color")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f<>]")


@dataclass(frozen=True)
class Signature:
    """A name and an e-mail address in a commit, and the time."""

    name: str
    email: str
    at: datetime

    def variables(self, role: str) -> dict[str, str]:
        """The variables of git for this author or committer."""
        at = self.at.astimezone(UTC)
        return {
            f"GIT_{role}_NAME": _one_line(self.name),
            f"GIT_{role}_EMAIL": _one_line(self.email),
            f"GIT_{role}_DATE": f"{int(at.timestamp())} +0000",
        }


@dataclass(frozen=True)
class CommitText:
    """A commit's message: subject, body, and trailers in order."""

    subject: str
    body: str = ""
    trailers: Sequence[tuple[str, str]] = ()

    @property
    def text(self) -> str:
        """The message as it is committed."""
        trailers = "\n".join(f"{name}: {_one_line(value)}" for name, value in self.trailers)
        parts = [_one_line(self.subject), self.body.strip(), trailers]
        return "\n\n".join(part for part in parts if part) + "\n"


def branch_of(run_id: str) -> str:
    """The name of the branch that carries a run's result."""
    return f"sisu/{run_id}"


def result_commit(
    git: Git,
    base: str,
    changes: Changes,
    signature: Signature,
    message: CommitText,
    subdirectory: str | None = None,
) -> str:
    """The id of the commit that applies the changes to the base, stored in the mirror.

    The id is a function of the arguments.
    """
    tree = apply_changes_to_tree(git, tree_of(git, base), changes, subdirectory)
    variables = {**signature.variables("AUTHOR"), **signature.variables("COMMITTER")}
    return git.text(
        *("commit the result", "commit-tree", "-p", base, "-F", "-", tree),
        stdin=message.text.encode(),
        environment=variables,
    )


def set_branch(git: Git, run_id: str, commit: str) -> None:
    """Create the branch of a run's result in the mirror. Raises GitRefused when it names another commit."""
    branch = f"refs/heads/{branch_of(run_id)}"
    try:
        git.run("create the branch", "update-ref", branch, commit, _NEW)
    except GitRefused:
        if git.text("read the branch", "rev-parse", "--verify", "--quiet", branch) != commit:
            raise GitRefused(f"the branch {branch_of(run_id)} has another commit than the run's result") from None


def bundle(git: Git, base: str, run_id: str) -> bytes:
    """A bundle of the result's branch; a repository that has the base can fetch from it."""
    return git.run(
        "make a bundle", "bundle", "create", "--quiet", "-", f"refs/heads/{branch_of(run_id)}", f"^{base}"
    )


def format_patch(git: Git, base: str, commit: str) -> bytes:
    """The result as a mailbox for `git am`."""
    return git.run("make a patch", "format-patch", "--stdout", *_DIFF, f"{base}..{commit}")


def push_compare_and_swap(
    mirrors: Mirrors, address: Address, commit: str, run_id: str, source: Address | None = None
) -> bool:
    """Push the result to its branch unless the branch exists; False when it already has exactly this commit.

    The commit is in the mirror of `source`, by default of the address itself. Never overwrites: raises GitRefused
    when the branch has another commit. Raises GitUnavailable when a repetition may help.
    """
    git = mirrors.remote_git(source or address, address)
    branch = f"refs/heads/{branch_of(run_id)}"
    if _remote_has(git, address, branch, commit):
        return False
    try:
        git.run(
            f"push {branch_of(run_id)}",
            # An empty lease: the branch must not exist at the moment of the update.
            *(
                "push",
                "--quiet",
                "--no-verify",
                "--no-signed",
                f"--force-with-lease={branch}:",
                "--recurse-submodules=no",
            ),
            *("--receive-pack", program("receive-pack")) * (address.protocol == "file"),
            *("--", address.text, f"{commit}:{branch}"),
        )
    except (GitRefused, GitUnavailable):
        # The branch may have been created meanwhile, or the answer to a push that succeeded was lost.
        if _remote_has(git, address, branch, commit):
            return False
        raise
    return True


def _remote_has(git: Git, address: Address, branch: str, commit: str) -> bool:
    listed = git.text(
        "read the remote branch",
        *("ls-remote", "--quiet"),
        *("--upload-pack", program("upload-pack")) * (address.protocol == "file"),
        *("--", address.text, branch),
    )
    if not listed:
        return False
    found = listed.split()[0]
    if found != commit:
        raise GitRefused(
            f"the remote branch {branch.removeprefix('refs/heads/')} exists with another commit, {found}"
        )
    return True


def _one_line(text: str) -> str:
    return _UNSAFE.sub(" ", text).strip() or "unknown"
