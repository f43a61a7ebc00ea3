"""The push of a succeeded run's branch: part of the plan, requested with the run's end, attempted until it ends.

The commit is a function of rows, and the remote creates the branch only if it does not exist. So an attempt that is
repeated after a crash finds its own commit, and one row records the end.
"""

import logging
import threading
from dataclasses import asdict
from pathlib import Path

from resources.database import Connection
from resources.failure_classification import is_database_away, kind_of, sentence_of
from resources.git.git_command import Git
from resources.git.git_errors import GitRefused, GitUnavailable
from resources.git.git_trees import TreeChange, compare_trees, tree_of
from resources.git.result_commits import branch_of, push_compare_and_swap
from sisu_pipeline.contracts.planned_work import PlanPush
from sisu_pipeline.contracts.recipe import ORIGIN, PushTarget
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.canonical import canonical_json
from sisu_pipeline.domain.changes.repository_base import InputInvalid, RepositoryBase
from sisu_pipeline.domain.errors import NotFound
from sisu_pipeline.domain.failure_kind import FailureKind
from sisu_pipeline.store.outputs import pushes
from sisu_pipeline.store.outputs.pushes import MOST_ATTEMPTS, DuePush, PushEnd, PushState
from sisu_pipeline.store.rules import recipes
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import run_base, run_result
from sisu_pipeline.workflow.dependencies import Dependencies

_BATCH = 100
_REMOTES_AT_ONCE = 8
logger = logging.getLogger(__name__)
_BY_HAND = "`sisu run apply RUN --branch` creates the branch in a checkout, from where it can be pushed"


def check_target(dependencies: Dependencies, target: PushTarget | None) -> None:
    """Raise InputInvalid when a recipe pushes to a repository that this deployment does not allow."""
    if target is None or target.remote == ORIGIN:
        return
    try:
        dependencies.allowed_repositories.named(target.remote)
    except GitRefused as refusal:
        raise InputInvalid("/push/remote", str(refusal)) from None


def planned(dependencies: Dependencies, connection: Connection, run: Run, base: RepositoryBase) -> PlanPush | None:
    """Where the result of a run is pushed, by its recipe; None for a recipe without a push. Raises GitRefused."""
    remote = recipes.push_remote(connection, run.recipe_id)
    if remote is None:
        return None
    address = dependencies.allowed_repositories.named(base.address if remote == ORIGIN else remote)
    return PlanPush(remote=address.text, branch=branch_of(run.id))


def push_due(dependencies: Dependencies, remote: str | None = None) -> int:
    """Attempt the pushes that are due, to this remote or any, one after another; returns how many ended."""
    ended = 0
    for _ in range(_BATCH):
        with dependencies.database.connect() as connection:
            due = pushes.take(connection, remote)
        if due is None:
            break
        ended += _attempt(dependencies, due)
    return ended


class PushesInProgress:
    """The remotes that this process pushes to at the moment, each in a thread, so that a slow one delays no other.

    Methods belong to one thread.
    """

    def __init__(self) -> None:
        self._threads: dict[str, threading.Thread] = {}

    @property
    def remotes(self) -> list[str]:
        """The remotes that are pushed to."""
        self._threads = {remote: thread for remote, thread in self._threads.items() if thread.is_alive()}
        return sorted(self._threads)

    def start_due(self, dependencies: Dependencies) -> None:
        """Start pushing to the remotes for which a push is due, a few at once."""
        with dependencies.database.connect() as connection:
            due = pushes.due_remotes(connection)
        waiting = [remote for remote in due if remote not in self.remotes]
        for remote in waiting[: _REMOTES_AT_ONCE - len(self._threads)]:
            # A daemon, so that a remote that never answers does not delay the end of the process.
            thread = threading.Thread(target=_push_alone, args=(dependencies, remote), daemon=True)
            self._threads[remote] = thread
            thread.start()


def _push_alone(dependencies: Dependencies, remote: str) -> None:
    try:
        push_due(dependencies, remote)
    except Exception:
        # The push is due again after its pause; its row counts the attempt.
        logger.exception("a push failed for a reason that is not expected")


def _attempt(dependencies: Dependencies, due: DuePush) -> bool:
    """Make one attempt; True when it ends the push."""
    if due.attempts > MOST_ATTEMPTS:
        return _end(dependencies, due, _given_up(due.last_error or "the process ended during each attempt"))
    try:
        crash_point("push.work.before")
        end = _push(dependencies, due)
    except Exception as failure:
        if is_database_away(failure) or kind_of(failure) is FailureKind.FATAL:
            raise  # The push is due again after its pause.
        return _fail(dependencies, due, failure)
    crash_point("push.work.after")
    return _end(dependencies, due, end)


def _fail(dependencies: Dependencies, due: DuePush, failure: Exception) -> bool:
    """Record why an attempt failed; True when that ends the push: for good, or as the last attempt."""
    error = sentence_of(failure)
    if kind_of(failure) is FailureKind.PERMANENT:
        return _end(dependencies, due, PushEnd.failed(f"{error}; {_BY_HAND}"))
    if due.is_last_attempt:
        return _end(dependencies, due, _given_up(error))
    with dependencies.database.connect() as connection:
        pushes.postpone(connection, due.run_id, error)
    return False


def _push(dependencies: Dependencies, due: DuePush) -> PushEnd:
    """Push the commit of a run's approved plan. Raises NotFound, DecisionConflict, GitRefused or GitUnavailable."""
    with dependencies.database.connect() as connection:
        result = run_result.read(connection, due.run_id)
    base = result.base
    if base is None or dependencies.mirrors is None:
        raise NotFound("the run has no repository, or this process has no folder for repositories")
    source = dependencies.allowed_repositories.named(base.address)
    target = dependencies.allowed_repositories.named(due.remote)
    git = run_base.open_base(dependencies, base)
    mirror = _identity(git.repository)
    try:
        commit = run_result.commit(dependencies, result)
        end = _described(git, base, commit)
        push_compare_and_swap(dependencies.mirrors, target, commit, due.run_id, source)
    except GitRefused as refusal:
        if _identity(git.repository) != mirror:
            # Another process made the mirror anew, because it had exceeded its quota.
            raise GitUnavailable(f"the mirror was removed during the push: {refusal}") from None
        raise
    return end


def _identity(repository: Path) -> tuple[int, int] | None:
    """What tells a mirror from one that replaces it: its HEAD is written once."""
    try:
        status = (repository / "HEAD").stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns


def _described(git: Git, base: RepositoryBase, commit: str) -> PushEnd:
    """The end of a push of this commit, as git reads it."""
    parent = git.text("read the commit", "rev-parse", "--verify", "--quiet", f"{commit}^")
    changed = sorted(compare_trees(git, base.commit, commit), key=lambda change: change.path)
    changes = canonical_json([_shown(change) for change in changed])
    return PushEnd(PushState.PUSHED, commit, parent, tree_of(git, commit), changes)


def _shown(change: TreeChange) -> dict[str, str | None]:
    shown = asdict(change)
    return {"oldMode": shown.pop("old_mode"), **shown}


def _given_up(error: str) -> PushEnd:
    return PushEnd.failed(f"gave up after {MOST_ATTEMPTS} attempts: {error}; {_BY_HAND}")


def _end(dependencies: Dependencies, due: DuePush, end: PushEnd) -> bool:
    with dependencies.database.connect() as connection:
        is_first = pushes.end(connection, due.run_id, end)
        crash_point("push.commit.before")
    crash_point("push.commit.after")
    return is_first
