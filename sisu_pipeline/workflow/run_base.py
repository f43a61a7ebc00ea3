"""The commit that a run with a repository starts from: resolved once, read for the plan, written out for tasks."""

import shutil
from dataclasses import replace
from pathlib import Path

from resources.git.git_command import Git
from resources.git.git_errors import GitRefused
from resources.git.git_trees import apply_changes_to_tree, read_files, tree_of, write_folder
from resources.git.mirrors import Mirrors
from sisu_pipeline.contracts.intent import Intent
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.crash_points import crash_point
from sisu_pipeline.domain.changes.declared_setup import COMMON_LOCK_FILES, check_setup
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.changes.plan_changes import Files, PatchOutdated, completed, files_after
from sisu_pipeline.domain.changes.repository_base import InputInvalid, RepositoryBase, repository_of, tree_key
from sisu_pipeline.domain.plan_edit import EditRefused
from sisu_pipeline.store import bases, intents, plans, runs
from sisu_pipeline.store.bases import named_paths
from sisu_pipeline.store.outputs import patches as history
from sisu_pipeline.store.rules.decisions import PlanDecision
from sisu_pipeline.workflow import patching
from sisu_pipeline.workflow.dependencies import Dependencies
from sisu_pipeline.workflow.workspace import Workspace


def check_allowed(dependencies: Dependencies, intent: Intent) -> None:
    """Raise InputInvalid when this deployment does not allow the intent's repository, or cannot honor its setup."""
    check_setup(intent, dependencies.task_defaults.provider, dependencies.task_defaults.setup)
    wanted = repository_of(intent)
    if wanted is not None:
        try:
            dependencies.allowed_repositories.address(wanted.url, wanted.path)
        except GitRefused as refusal:
            raise InputInvalid("/inputs/repo", str(refusal)) from None


def resolve(dependencies: Dependencies, run_id: str, intent: Intent) -> RepositoryBase | None:
    """The commit that a run starts from; None without a repository. The first result is stored and final.

    Raises InputInvalid, GitRefused, or GitUnavailable after several attempts.
    """
    wanted = repository_of(intent)
    if wanted is None:
        return None
    with dependencies.database.connect() as connection:
        stored = bases.find(connection, run_id)
    if stored is not None:
        return stored
    address = dependencies.allowed_repositories.address(wanted.url, wanted.path)
    mirrors = _mirrors(dependencies)
    commit = mirrors.resolve_ref(address, wanted.ref)
    tree = tree_of(mirrors.git(address), commit, wanted.subdirectory)
    crash_point("base.resolve.after")
    with dependencies.database.connect() as connection:
        base = bases.store(
            connection, run_id, wanted.ref, RepositoryBase(address.text, wanted.subdirectory, commit, tree)
        )
    crash_point("base.store.after")
    return base


def open_base(dependencies: Dependencies, base: RepositoryBase) -> Git:
    """Git on the mirror that holds a run's commit. Raises GitRefused or GitUnavailable."""
    return _mirrors(dependencies).require(dependencies.allowed_repositories.named(base.address), base.commit)


def files_of_plan(dependencies: Dependencies, run_id: str, base: RepositoryBase, plan: Plan) -> Files:
    """The commit's files at the paths of a compiled plan, which are stored. Raises GitRefused or GitUnavailable."""
    paths = named_paths((patch.target_path, patch.from_path) for patch in plan.patch_plan or [])
    found = read_files(open_base(dependencies, base), base.tree, paths)
    with dependencies.database.connect() as connection:
        bases.store_files(connection, run_id, found)
    return {path: state for path, state in found.items() if state is not None}


def check_result(dependencies: Dependencies, base: RepositoryBase, plan: Plan, files: Files) -> None:
    """Raise GitRefused when the changes of a plan cannot be made in the commit's tree."""
    if plan.patch_plan:
        _changed_tree(open_base(dependencies, base), base, plan, files)


def lock_files(dependencies: Dependencies, base: RepositoryBase | None, plan: Plan, files: Files) -> list[str]:
    """The usual lock files that a plan leaves at the top of the workspace. Raises GitRefused or GitUnavailable."""
    changed = files_after(plan, files)
    before: Files = files
    if base is not None:
        found = read_files(open_base(dependencies, base), base.tree, COMMON_LOCK_FILES)
        before = {path: state for path, state in found.items() if state is not None}
    gone = files.keys() - changed.keys()
    return [name for name in COMMON_LOCK_FILES if name in changed or (name in before and name not in gone)]


def with_base_files(dependencies: Dependencies, wanted: PlanDecision) -> PlanDecision:
    """A decision with the files of the run's commit that only its edited plan changes; nothing is stored.

    Raises EditRefused when the changes cannot be made in the commit's tree, ChangeInvalid, or GitUnavailable.
    """
    plan = wanted.edited_plan
    if plan is None or not plan.patch_plan:
        return wanted
    with dependencies.database.connect() as connection:
        base = bases.find(connection, wanted.run_id)
        if base is None:
            return wanted
        named = named_paths((patch.target_path, patch.from_path) for patch in plan.patch_plan)
        missing = sorted(set(named) - bases.known_paths(connection, wanted.run_id))
        if not missing:
            return wanted
        run = runs.get(connection, wanted.run_id)
        files = bases.files(connection, run.id, intents.get(connection, run.intent_id))
    try:
        found = read_files(open_base(dependencies, base), base.tree, missing)
        files |= {path: state for path, state in found.items() if state is not None}
        check_result(dependencies, base, completed(plan, files), files)
    except (GitRefused, PatchOutdated) as refusal:
        raise EditRefused(str(refusal)) from None
    return replace(wanted, base_files=found)


def prepare_workspace(dependencies: Dependencies, run_id: str, intent: Intent) -> Workspace:
    """The run's workspace with the files that its plan starts from, unless a patch has changed them already.

    Raises PathNotAllowed, GitRefused or GitUnavailable.
    """
    workspace = patching.workspace_of(dependencies.workspaces, run_id)
    base = resolve(dependencies, run_id, intent)
    if base is None:
        patching.prepare(dependencies.database, workspace, run_id, intent)
        return workspace
    with dependencies.database.connect() as connection:
        is_patched = history.exists(connection, run_id)
    if not is_patched and workspace.root.exists():
        shutil.rmtree(workspace.root)  # of a run of an earlier database
    if not workspace.root.exists():
        write_folder(open_base(dependencies, base), base.tree, workspace.root)
    return workspace


def write_approved_tree(dependencies: Dependencies, run_id: str, tree: str, folder: Path) -> None:
    """Write the files that a run's tasks start from: its commit with the changes of its current plan.

    Raises LookupError when `tree` does not name these files, GitRefused or GitUnavailable.
    """
    with dependencies.database.connect() as connection:
        run = runs.get(connection, run_id)
        base = bases.find(connection, run.id)
        version = plans.current(connection, run.id)
        changes = plans.changes_sha256(connection, run.id, version)
        files = bases.files(connection, run.id, intents.get(connection, run.intent_id))
    if base is None or tree_key(base.tree, changes) != tree:
        raise LookupError(f"the plan of {run_id} does not lead to the files {tree}")
    git = open_base(dependencies, base)
    write_folder(git, _changed_tree(git, base, version.read(), files), folder)


def _changed_tree(git: Git, base: RepositoryBase, plan: Plan, files: Files) -> str:
    return apply_changes_to_tree(git, base.tree, effects(plan, files))


def effects(plan: Plan, files: Files) -> dict[str, FileState | None]:
    """The files that a plan leaves different from those it starts from, by path; None for a deleted one."""
    after = files_after(plan, files)
    return {path: after.get(path) for path in {*files, *after} if files.get(path) != after.get(path)}


def _mirrors(dependencies: Dependencies) -> Mirrors:
    if dependencies.mirrors is None:
        raise GitRefused("this process has no folder for repositories")
    return dependencies.mirrors
