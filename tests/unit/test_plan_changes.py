"""Patches are completed from the files they start from; a patch that contradicts them or another one is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.contracts.step_outputs import PatchOp, Plan
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.changes.file_diff import FileState
from sisu_pipeline.domain.changes.plan_changes import (
    Change,
    ChangeInvalid,
    PatchOutdated,
    changes_of,
    completed,
    files_after,
)
from sisu_pipeline.domain.changes.tree_patches import patches_between

FILES = {
    "a.txt": FileState(b"before\n"),
    "bin/tool": FileState(b"#!/bin/sh\n", "100755"),
    "docs/guide.md": FileState(b"guide\n"),
}
BARE: dict[str, Any] = {"goal": "g", "design": [], "files": [], "risks": [], "tests": []}
BINARY, BINARY_BASE64 = b"\xff\xfe\0", "//4A"


def a_plan(*patches: dict[str, Any]) -> Plan:
    return Plan.from_json({**BARE, "patchPlan": list(patches)})


def complete(*patches: dict[str, Any]) -> list[dict[str, Any]]:
    """The completed patches without their diffs."""
    found: list[dict[str, Any]] = completed(a_plan(*patches), FILES).to_json()["patchPlan"]
    return [{name: value for name, value in patch.items() if name != "diffText"} for patch in found]


def sha256_of(path: str) -> str:
    return sha256_hex(FILES[path].content)


@pytest.mark.parametrize(
    ("patch", "more"),
    [
        ({"targetPath": "a.txt", "postimageContent": "x"}, {"op": "modify", "oldSha256": sha256_of("a.txt")}),
        ({"targetPath": "new.txt", "postimageContent": "x"}, {"op": "create"}),
        ({"targetPath": "a.txt", "op": "delete"}, {"oldSha256": sha256_of("a.txt")}),
        (
            {"targetPath": "b.txt", "op": "rename", "fromPath": "a.txt"},
            {"oldSha256": sha256_of("a.txt")},
        ),
        ({"targetPath": "a.txt", "op": "modify", "mode": "100755"}, {"oldSha256": sha256_of("a.txt")}),
        ({"targetPath": "x", "contentBase64": BINARY_BASE64}, {"op": "create"}),
    ],
)
def test_what_a_patch_leaves_out_is_computed(patch: dict[str, Any], more: dict[str, Any]) -> None:
    assert complete(patch) == [{**patch, **more}]


def test_base64_of_text_becomes_text_and_a_mode_without_effect_is_left_out() -> None:
    (text, tool) = complete(
        {"targetPath": "a.txt", "contentBase64": "eA=="},
        {"targetPath": "bin/tool", "postimageContent": "x", "mode": "100755"},
    )
    assert text == {"targetPath": "a.txt", "op": "modify", "postimageContent": "x", "oldSha256": sha256_of("a.txt")}
    assert "mode" not in tool


def test_completing_again_changes_nothing() -> None:
    plan = completed(
        a_plan(
            {"targetPath": "a.txt", "op": "delete"},
            {"targetPath": "a.txt/b", "postimageContent": "x"},
            {"targetPath": "tool", "op": "rename", "fromPath": "bin/tool", "mode": "100644"},
            {"targetPath": "docs/guide.md", "contentBase64": BINARY_BASE64},
        ),
        FILES,
    )
    assert completed(Plan.from_json(plan.to_json()), FILES) == plan


def test_the_effect_on_the_files_is_that_of_all_patches() -> None:
    plan = a_plan(
        {"targetPath": "a.txt", "op": "delete"},
        {"targetPath": "tool", "op": "rename", "fromPath": "bin/tool"},
        {"targetPath": "docs/guide.md", "contentBase64": BINARY_BASE64, "mode": "100755"},
        {"targetPath": "new", "postimageContent": "é"},
    )
    assert files_after(plan, FILES) == {
        "tool": FILES["bin/tool"],
        "docs/guide.md": FileState(BINARY, "100755"),
        "new": FileState("é".encode()),
    }
    assert [change.op for change in changes_of(plan, FILES)] == ["delete", "rename", "modify", "create"]


def test_a_diff_is_computed_from_the_content_whatever_was_written() -> None:
    lie = {"targetPath": "a.txt", "postimageContent": "after\n", "diffText": "-lie\n+lie2\n"}
    plan = completed(a_plan(lie), FILES)
    assert plan.patch_plan is not None
    assert plan.patch_plan[0].diff_text.splitlines()[-2:] == ["-before", "+after"]


@pytest.mark.parametrize(
    ("patches", "sentence"),
    [
        (
            [{"targetPath": "x", "op": "modify", "postimageContent": ""}],
            "cannot modify 'x': the file does not exist",
        ),
        ([{"targetPath": "x", "op": "delete"}], "cannot delete 'x': the file does not exist"),
        (
            [{"targetPath": "y", "op": "rename", "fromPath": "x"}],
            "cannot rename 'x': the file does not exist",
        ),
        (
            [{"targetPath": "a.txt", "op": "create", "postimageContent": ""}],
            "cannot create 'a.txt': the file exists; use op 'modify'",
        ),
        (
            [{"targetPath": "a.txt", "op": "rename", "fromPath": "bin/tool"}],
            "cannot rename 'bin/tool' to 'a.txt': that file exists",
        ),
        (
            [{"targetPath": "a.txt", "op": "modify", "mode": "100644"}],
            "'a.txt' has the mode 100644 already; leave the patch out",
        ),
        (
            [{"targetPath": "a.txt", "postimageContent": text} for text in "12"],
            "two patches name 'a.txt'; make one patch of them",
        ),
        (
            [
                {"targetPath": "b.txt", "op": "rename", "fromPath": "a.txt"},
                {"targetPath": "a.txt", "op": "create", "postimageContent": ""},
            ],
            "two patches name 'a.txt'; make one patch of them",
        ),
        (
            [{"targetPath": "a.txt/b", "postimageContent": ""}],
            "cannot write 'a.txt/b': 'a.txt' is a file, not a folder",
        ),
        (
            [{"targetPath": "docs", "postimageContent": ""}],
            "cannot write 'docs': it is a folder, with 'docs/guide.md' in it",
        ),
        (
            [{"targetPath": "docs", "op": "rename", "fromPath": "a.txt"}],
            "cannot rename 'a.txt' to 'docs': it is a folder, with 'docs/guide.md' in it",
        ),
        *(
            (
                [{"targetPath": path, "postimageContent": ""}],
                f"path '{path}' must be relative and stay in the workspace: no '.', '..' or empty part",
            )
            for path in ("../x", "/etc/passwd", "a/../b", "./a", "a//b", "a/")
        ),
        *(
            (
                [{"targetPath": path, "postimageContent": ""}],
                f"path '{path}' is in a .git folder, which no patch may change",
            )
            for path in (".git/config", "sub/.GIT/hooks/x", ".git", ".git ./x", "GIT~1/config", ".git::$DATA")
        ),
        (
            [{"targetPath": "x" * 256, "postimageContent": ""}],
            f"a name in a path has at most 255 bytes (got 256): '{'x' * 59}\\u2026'",
        ),
        (
            [{"targetPath": "a.sisu-partial", "postimageContent": ""}],
            "path 'a.sisu-partial' must not end with .sisu-partial, which marks unfinished files",
        ),
    ],
)
def test_a_contradiction_is_refused_in_one_sentence(patches: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(ChangeInvalid) as refusal:
        completed(a_plan({"targetPath": "unrelated", "postimageContent": ""}, *patches), FILES)
    assert refusal.value.message == sentence
    assert refusal.value.index == len(patches)


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"targetPath": "link", "postimageContent": ""}, "link"),
        ({"targetPath": "link/inner", "postimageContent": ""}, "link/inner"),
        ({"targetPath": "link", "op": "delete"}, "link"),
        ({"targetPath": "x", "op": "rename", "fromPath": "link"}, "link"),
        ({"targetPath": "link/x", "op": "rename", "fromPath": "a.txt"}, "link/x"),
    ],
)
def test_a_patch_of_a_link_or_behind_one_is_refused(patch: dict[str, Any], path: str) -> None:
    with pytest.raises(ChangeInvalid) as refusal:
        completed(a_plan(patch), FILES, {"link", "other"})
    assert refusal.value.message == f"cannot change '{path}': 'link' is a link, not a file or folder"


def test_the_content_of_all_patches_together_is_bounded() -> None:
    patches = [{"targetPath": f"{number}.txt", "postimageContent": "x" * 200_000} for number in range(41)]
    completed(a_plan(*patches[:40]), {})
    with pytest.raises(ChangeInvalid, match="at most 8,000,000 bytes"):
        completed(a_plan(*patches), {})


@pytest.mark.parametrize("path", [".gitignore", ".github/x", "a.git/b", "..a", "a..b"])
def test_a_path_that_only_looks_like_a_refused_one_is_accepted(path: str) -> None:
    assert complete({"targetPath": path, "postimageContent": ""})


def test_a_file_may_become_a_folder_and_a_folder_a_file() -> None:
    plan = a_plan(
        {"targetPath": "a.txt/inner", "op": "rename", "fromPath": "a.txt"},
        {"targetPath": "docs/guide.md", "op": "delete"},
        {"targetPath": "docs", "postimageContent": "now a file"},
    )
    assert files_after(completed(plan, FILES), FILES).keys() == {"a.txt/inner", "bin/tool", "docs"}


@pytest.mark.parametrize(("path", "old"), [("a.txt", "before\n"), ("a.txt", None), ("new.txt", None)])
def test_a_patch_made_for_this_content_is_accepted(path: str, old: str | None) -> None:
    old_sha256 = None if old is None else sha256_hex(old)
    assert complete({"targetPath": path, "postimageContent": "x", "oldSha256": old_sha256})


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({"targetPath": "a.txt", "postimageContent": "x"}, "a.txt has the sha256"),
        ({"targetPath": "new.txt", "postimageContent": "x"}, "new.txt does not exist"),
        ({"targetPath": "a.txt", "op": "delete"}, "a.txt has the sha256"),
        ({"targetPath": "b", "op": "rename", "fromPath": "a.txt"}, "a.txt has the sha256"),
    ],
)
def test_a_patch_made_for_other_content_is_refused(patch: dict[str, Any], says: str) -> None:
    with pytest.raises(PatchOutdated, match=says):
        complete({**patch, "oldSha256": "0" * 64})


def test_patches_of_one_file_in_an_old_plan_build_on_each_other() -> None:
    plan = a_plan(*({"targetPath": "a.txt", "postimageContent": text} for text in "12"))
    assert changes_of(plan, FILES) == [
        Change("a.txt", FILES["a.txt"], FileState(b"1")),
        Change("a.txt", FileState(b"1"), FileState(b"2")),
    ]


def _is_possible(files: dict[str, FileState]) -> bool:
    """Whether no path is a folder of another."""
    return not any(other.startswith(f"{path}/") for path in files for other in files)


CONTENTS = st.sampled_from([b"", b"one\n", b"two\n", b"\xff", b"\0"])
TREES = st.dictionaries(
    st.sampled_from(["a", "b", "a/x", "a/y", "b/x", "c"]),
    st.builds(FileState, CONTENTS, st.sampled_from(["100644", "100755"])),
    max_size=4,
).filter(_is_possible)


@given(TREES, TREES)
def test_patches_between_two_trees_are_accepted_and_turn_one_into_the_other(
    before: dict[str, FileState], after: dict[str, FileState]
) -> None:
    made = patches_between(before, after)
    plan = completed(Plan.from_json(Plan(**BARE, patch_plan=made).to_json()), before)
    assert files_after(plan, before) == after
    assert plan.patch_plan is not None
    assert [(each.op, each.target_path) for each in plan.patch_plan] == [(p.op, p.target_path) for p in made]


def test_a_moved_file_is_a_rename_and_a_file_moved_below_itself_too() -> None:
    before = {"a": FileState(b"1"), "b": FileState(b"2")}
    (patch,) = patches_between(before, {"c": FileState(b"1", "100755"), "b": FileState(b"2")})
    assert (patch.op, patch.from_path, patch.target_path, patch.mode) == (PatchOp.RENAME, "a", "c", "100755")
    assert patch.content is None
