"""Failures of git commands, by whether a repetition can succeed."""

from sisu_pipeline.domain.failure_kind import FailureKind


class GitError(Exception):
    """A git command failed. The message is a sentence without credentials."""


class GitRefused(GitError):
    """The repository, the reference or a change is refused: a repetition fails in the same way."""


class GitUnavailable(GitError):
    """The repository cannot be reached now, or a limit of time was exceeded: a repetition may succeed."""

    failure_kind = FailureKind.PASSING
