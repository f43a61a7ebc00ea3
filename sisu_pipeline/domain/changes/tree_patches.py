"""Patches made of two sets of files, for a planner that has changed files itself."""

from collections.abc import Iterable

from sisu_pipeline.contracts.step_outputs import PatchOp, PlanPatch
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.changes.plan_changes import Files, content_members


def patches_between(before: Files, after: Files) -> list[PlanPatch]:
    """Patches that turn one set of files into another: deletions, renames, then new and modified files by path.

    A new file with the content of a deleted one is a rename. Raises pydantic's ValidationError for a file that is
    too large for a patch.
    """
    renamed = _renamed(before, after)
    gone = sorted(before.keys() - after.keys() - set(renamed.values()))
    written = sorted(path for path in after if path not in renamed and before.get(path) != after[path])
    return [
        *(_deletion(path, before[path]) for path in gone),
        *(_rename(source, before[source], path, after[path]) for path, source in sorted(renamed.items())),
        *(_writing(path, before.get(path), after[path]) for path in written),
    ]


def _renamed(before: Files, after: Files) -> dict[str, str]:
    """New paths by the old paths of their files: those whose content another path has no longer.

    A path that conflicts with an old path of a renamed file is left out, so that the renames are possible in any
    order.
    """
    sources: dict[bytes, list[str]] = {}
    for path in sorted(before.keys() - after.keys(), reverse=True):
        sources.setdefault(before[path].content, []).append(path)
    pairs = {}
    for path in sorted(after.keys() - before.keys()):
        content = after[path].content
        if content and sources.get(content):
            pairs[path] = sources[content].pop()
    old = set(pairs.values())
    return {path: source for path, source in pairs.items() if not _conflicts(path, old)}


def _conflicts(path: str, others: Iterable[str]) -> bool:
    return any(other.startswith(f"{path}/") or path.startswith(f"{other}/") for other in others)


def _deletion(path: str, old: FileState) -> PlanPatch:
    return PlanPatch(target_path=path, op=PatchOp.DELETE, old_sha256=sha256_hex(old.content))


def _rename(source: str, old: FileState, path: str, new: FileState) -> PlanPatch:
    mode = None if new.mode == old.mode else new.mode
    old_sha256 = sha256_hex(old.content)
    return PlanPatch(target_path=path, op=PatchOp.RENAME, from_path=source, mode=mode, old_sha256=old_sha256)


def _writing(path: str, old: FileState | None, new: FileState) -> PlanPatch:
    content = {} if old is not None and old.content == new.content else content_members(new)
    return PlanPatch(
        target_path=path,
        op=PatchOp.CREATE if old is None else PatchOp.MODIFY,
        mode=None if new.mode == ("100644" if old is None else old.mode) else new.mode,
        old_sha256=None if old is None else sha256_hex(old.content),
        postimage_content=content.get("postimage_content"),
        content_base64=content.get("content_base64"),
    )
