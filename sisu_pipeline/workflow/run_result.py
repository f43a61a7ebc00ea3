"""What comes out of a run: its changes as a patch, an archive or a commit, each a function of its rows."""

import io
import zipfile
from dataclasses import dataclass

from resources.database import Connection
from resources.git.result_commits import CommitText, Signature, bundle, result_commit, set_branch
from sisu_pipeline.contracts.gate import Decision
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.changes.file_diff import unified_diff
from sisu_pipeline.domain.changes.plan_changes import Files, changes_of
from sisu_pipeline.domain.changes.repository_base import RepositoryBase
from sisu_pipeline.domain.errors import DecisionConflict, NotFound
from sisu_pipeline.domain.identity import checked_reference
from sisu_pipeline.store import bases, gates, intents, plans, runs
from sisu_pipeline.store.rules.decisions import RecordedDecision
from sisu_pipeline.store.runs import Run
from sisu_pipeline.workflow import run_base
from sisu_pipeline.workflow.dependencies import Dependencies

_LONGEST_SUBJECT = 72
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
_MODES = {"100644": 0o100644, "100755": 0o100755}


@dataclass(frozen=True)
class RunResult:
    """The rows of a run that its result is made of: the newest plan, the files it starts from, the decision."""

    run: Run
    goal: str
    plan: Plan
    plan_sha256: str
    files: Files
    base: RepositoryBase | None
    decision: RecordedDecision | None


def read(connection: Connection, run_reference: str) -> RunResult:
    """The result of a run. Raises NotFound before there is a plan."""
    run = runs.get(connection, checked_reference(run_reference))
    version = plans.current(connection, run.id)
    intent = intents.get(connection, run.intent_id)
    return RunResult(
        run,
        intent.goal,
        version.read(),
        version.sha256,
        bases.files(connection, run.id, intent),
        bases.find(connection, run.id),
        gates.decision(connection, run.id),
    )


def patch(result: RunResult) -> bytes:
    """The changes of the plan as a patch for `git apply` in the top folder of the repository."""
    prefix = _prefix(result)
    diffs = [
        unified_diff(
            f"{prefix}{change.path}",
            change.old,
            change.new,
            None if change.from_path is None else f"{prefix}{change.from_path}",
        )
        for change in changes_of(result.plan, result.files)
    ]
    return "".join(diffs).encode()


def archive(result: RunResult) -> bytes:
    """The files that the plan creates or changes, as a zip archive. The same plan is the same archive."""
    prefix = _prefix(result)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for path, state in sorted(run_base.effects(result.plan, result.files).items()):
            if state is not None:
                member = zipfile.ZipInfo(f"{prefix}{path}", _FIRST_DAY)
                member.external_attr = _MODES[state.mode] << 16
                file.writestr(member, state.content, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def commit(dependencies: Dependencies, result: RunResult) -> str:
    """The id of the commit of an approved plan, stored in the mirror of the repository with the branch of the run.

    Author, dates and message come from the run's rows, so the same run has the same commit everywhere. Raises
    NotFound without a repository, DecisionConflict before an approval, GitRefused or GitUnavailable.
    """
    base, decision = result.base, result.decision
    if base is None:
        raise NotFound("the run has no repository")
    if decision is None or decision.decision is not Decision.APPROVED or decision.plan_sha256 is None:
        raise DecisionConflict("the plan of the run is not approved; a commit has the changes of an approved plan")
    git = run_base.open_base(dependencies, base)
    changes = run_base.effects(result.plan, result.files)
    made = result_commit(git, base.commit, changes, _author(result, decision), _text(result), base.subdirectory)
    set_branch(git, result.run.id, made)
    return made


def bundle_of(dependencies: Dependencies, result: RunResult) -> bytes:
    """A git bundle with the branch of the run's commit. Raises what `commit` raises."""
    commit(dependencies, result)
    assert result.base is not None, "a run with a commit has a base"
    return bundle(run_base.open_base(dependencies, result.base), result.base.commit, result.run.id)


def _author(result: RunResult, decision: RecordedDecision) -> Signature:
    name = result.run.submitted_by or "sisu"
    return Signature(name, name if "@" in name else "sisu@localhost", decision.decided_at)


def _text(result: RunResult) -> CommitText:
    assert result.decision is not None, "a result with a commit is approved"
    first, _, rest = result.goal.strip().partition("\n")
    is_long = len(first) > _LONGEST_SUBJECT
    return CommitText(
        f"{first[: _LONGEST_SUBJECT - 1]}…" if is_long else first,
        result.goal if is_long else rest,
        (
            *(("Approved-by", person) for person in result.decision.approvers or [result.decision.decided_by]),
            ("Sisu-Intent", result.run.intent_id),
            ("Sisu-Run", result.run.id),
            ("Sisu-Plan", result.plan_sha256),
        ),
    )


def _prefix(result: RunResult) -> str:
    return f"{result.base.subdirectory}/" if result.base and result.base.subdirectory else ""
