"""What the patches of a plan do to the files that they start from, and which patches contradict those files."""

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from sisu_pipeline.contracts.field_errors import shown
from sisu_pipeline.contracts.step_outputs import PatchOp, Plan, PlanPatch
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.changes.file_diff import FileState, remarks, unified_diff
from sisu_pipeline.domain.changes.stored_diff import is_exact
from sisu_pipeline.domain.changes.workspace_files import is_in_git_folder, path_error

_MOST_BYTES = 8_000_000
"""New content of all patches of a plan together."""

Files = Mapping[str, FileState]
"""A set of files by their paths."""


class ChangeInvalid(Exception):
    """A patch contradicts the files it starts from or another patch. `index` is its place in the plan."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index
        self.message = message


class PatchOutdated(Exception):
    """A patch was made for a file with other content."""


@dataclass(frozen=True)
class Change:
    """The effect of a patch on its file: its state before and after. `from_path` is the old path of a renamed file.

    No `old` means that the patch creates the file, no `new` that it deletes it.
    """

    path: str
    old: FileState | None
    new: FileState | None
    from_path: str | None = None
    stored_diff: str = field(default="", compare=False)
    """A diff that was computed before, if there is one."""

    @property
    def op(self) -> PatchOp:
        """The effect in one word."""
        if self.from_path is not None:
            return PatchOp.RENAME
        if self.old is None:
            return PatchOp.CREATE
        return PatchOp.DELETE if self.new is None else PatchOp.MODIFY

    @property
    def title(self) -> str:
        """The operation and the paths on one line for a person."""
        return f"{self.op} {f'{self.from_path} to ' if self.from_path else ''}{self.path}"

    @property
    def diff(self) -> str:
        """The change as a unified diff that `git apply` accepts; empty when nothing changes."""
        place = (self.path, self.old, self.new, self.from_path)
        return self.stored_diff if is_exact(self.stored_diff, *place) else unified_diff(*place)

    @property
    def remarks(self) -> list[str]:
        """What a reader of the diff could overlook."""
        return remarks(self.old, self.new)


def changes_of(plan: Plan, files: Files) -> list[Change]:
    """The changes of a plan in its order. A patch sees the effect of those before it.

    Reads stored plans of every release, so it checks nothing; `completed` has checked the patches of a new plan.
    """
    states = dict(files)
    found = []
    for patch in plan.patch_plan or []:
        change = _change(patch, states)
        _carry_out(change, states)
        found.append(replace(change, stored_diff=patch.diff_text))
    return found


def files_after(plan: Plan, files: Files) -> dict[str, FileState]:
    """The files after the changes of a plan."""
    states = dict(files)
    for change in changes_of(plan, files):
        _carry_out(change, states)
    return states


def completed(plan: Plan, files: Files, links: Collection[str] = ()) -> Plan:
    """The plan with the op, the old hash and the diff of each patch, computed from the files.

    So that a plan has one form, content in base64 that is text becomes text, and a mode that the file would have
    anyway is left out. `links` are the paths of symbolic links and other entries that are neither files nor
    folders: no patch may change them or lie behind them.

    Raises ChangeInvalid, or PatchOutdated when a patch was made for a file with other content.
    """
    if plan.patch_plan is None:
        return plan
    states = dict(files)
    named: set[str] = set()
    size = 0
    patches = []
    for index, patch in enumerate(plan.patch_plan):
        _check_links(index, patch, links)
        _check(index, patch, states, named)
        size += len(patch.content or b"")
        if size > _MOST_BYTES:
            raise ChangeInvalid(index, f"the patches must have at most {_MOST_BYTES:,} bytes of content together")
        change = _change(patch, states)
        _carry_out(change, states)
        patches.append(_completed(patch, change))
    return plan.model_copy(update={"patch_plan": patches})


def _change(patch: PlanPatch, states: Files) -> Change:
    old = states.get(patch.source_path)
    if patch.op is PatchOp.DELETE:
        return Change(patch.target_path, old, None)
    content = patch.content
    if content is None:
        content = b"" if old is None else old.content
    mode = patch.mode or ("100644" if old is None else old.mode)
    return Change(patch.target_path, old, FileState(content, mode), patch.from_path)


def _carry_out(change: Change, states: dict[str, FileState]) -> None:
    states.pop(change.from_path or change.path, None)
    if change.new is not None:
        states[change.path] = change.new


def _check(index: int, patch: PlanPatch, states: Files, named: set[str]) -> None:
    for path in filter(None, (patch.from_path, patch.target_path)):
        _check_path(index, path)
        if path in named:
            raise ChangeInvalid(index, f"two patches name {shown(path)}; make one patch of them")
        named.add(path)
    _check_old(index, patch, states.get(patch.source_path))
    if patch.op is not PatchOp.DELETE:
        _check_place(index, patch, states)


def _check_links(index: int, patch: PlanPatch, links: Collection[str]) -> None:
    for path in (patch.source_path, patch.target_path):
        link = next((place for place in (*_folders(path), path) if place in links), None)
        if link is not None:
            raise ChangeInvalid(
                index, f"cannot change {shown(path)}: {shown(link)} is a link, not a file or folder"
            )


def _check_path(index: int, path: str) -> None:
    if (error := path_error(path)) is not None:
        raise ChangeInvalid(index, error)
    if is_in_git_folder(path):
        raise ChangeInvalid(index, f"path {shown(path)} is in a .git folder, which no patch may change")


def _check_old(index: int, patch: PlanPatch, old: FileState | None) -> None:
    path = shown(patch.source_path)
    if old is None and patch.op not in (None, PatchOp.CREATE):
        raise ChangeInvalid(index, f"cannot {patch.op} {path}: the file does not exist")
    if old is not None and patch.op is PatchOp.CREATE:
        raise ChangeInvalid(index, f"cannot create {path}: the file exists; use op 'modify'")
    if old is not None and patch.op is PatchOp.MODIFY and patch.content is None and patch.mode == old.mode:
        raise ChangeInvalid(index, f"{path} has the mode {patch.mode} already; leave the patch out")
    found = None if old is None else sha256_hex(old.content)
    if patch.old_sha256 not in (None, found):
        has = "does not exist" if found is None else f"has the sha256 {found}"
        raise PatchOutdated(
            f"{patch.source_path} {has}, and its patch was made for {patch.old_sha256}: make the patch again"
        )


def _check_place(index: int, patch: PlanPatch, states: Files) -> None:
    """Whether the file can be where the patch puts it. A renamed file leaves its old place."""
    path = patch.target_path
    others = states.keys() - {patch.source_path}
    if path in others:
        raise ChangeInvalid(index, f"cannot rename {shown(patch.source_path)} to {shown(path)}: that file exists")
    folder = next((folder for folder in _folders(path) if folder in others), None)
    if folder is not None:
        raise ChangeInvalid(index, f"cannot {_verb(patch)} {shown(path)}: {shown(folder)} is a file, not a folder")
    inside = min((other for other in others if other.startswith(f"{path}/")), default=None)
    if inside is not None:
        raise ChangeInvalid(
            index, f"cannot {_verb(patch)} {shown(path)}: it is a folder, with {shown(inside)} in it"
        )


def _verb(patch: PlanPatch) -> str:
    return f"rename {shown(patch.source_path)} to" if patch.op is PatchOp.RENAME else "write"


def _completed(patch: PlanPatch, change: Change) -> PlanPatch:
    computed: dict[str, object] = {
        "op": change.op,
        "diff_text": change.diff,
        "old_sha256": None if change.old is None else sha256_hex(change.old.content),
    }
    if change.new is not None:
        default = "100644" if change.old is None else change.old.mode
        computed["mode"] = None if change.new.mode == default else change.new.mode
        if patch.content is not None:
            computed |= content_members(change.new)
    return patch.model_copy(update=computed)


def content_members(state: FileState) -> dict[str, str | None]:
    """The content of a file as the members of a patch."""
    text = state.text
    encoded = base64.b64encode(state.content).decode() if text is None else None
    return {"postimage_content": text, "content_base64": encoded}


def _folders(path: str) -> list[str]:
    """The folders that a path lies in, the outermost first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
