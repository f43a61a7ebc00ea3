"""Files out of a sandbox: only regular ones, only what changed, bounded, in order."""

import os
from pathlib import Path, PurePosixPath

from resources.sandbox.local.task_folder import collect_files, place_files
from resources.sandbox.local.user_slots import Slot
from resources.sandbox.output_files import Collected, OutputLimits
from sisu_pipeline.domain.canonical import sha256_hex

OURS = Slot(os.getuid(), os.getgid())
HERE = PurePosixPath()


def nothing(path: str) -> bytes | None:
    """The content of no file."""
    return None


def reasons(collected: Collected) -> dict[str, str]:
    return {skipped["path"]: skipped["reason"] for skipped in collected.evidence.get("skippedFiles", [])}


def test_only_created_and_changed_files_return_sorted(tmp_path: Path) -> None:
    work = tmp_path / "work"
    placed = {"b/kept": b"1", "changed": b"2"}
    place_files(work, PurePosixPath("sub"), placed, OURS)
    (work / "sub" / "changed").write_text("3")
    (work / "sub" / "b" / "new").write_text("ä")
    (work / "outside").write_text("not below the working directory")
    collected = collect_files(work, PurePosixPath("sub"), placed.get, OutputLimits())
    assert [(file.path, file.inline, file.sha256) for file in collected.files] == [
        ("b/new", "ä", sha256_hex("ä")),
        ("changed", "3", sha256_hex("3")),
    ]
    assert collected.evidence == {"returned": 2, "bytes": 3}


def test_bytes_that_are_no_text_return_as_data_uri(tmp_path: Path) -> None:
    place_files(tmp_path / "work", HERE, {}, OURS)
    (tmp_path / "work" / "latin").write_bytes(b"\xff")
    (tmp_path / "work" / "nul").write_bytes(b"a\0")
    files = collect_files(tmp_path / "work", HERE, nothing, OutputLimits()).files
    assert [(file.inline, file.uri) for file in files] == [
        (None, "data:application/octet-stream;base64,/w=="),
        (None, "data:application/octet-stream;base64,YQA="),
    ]


def test_what_is_no_regular_file_is_named_and_left(tmp_path: Path) -> None:
    work = tmp_path / "work"
    place_files(work, HERE, {}, OURS)
    (work / "link").symlink_to("/etc/passwd")
    (work / "folder-link").symlink_to("/etc")
    os.mkfifo(work / "fifo")
    os.close(os.open(os.fsencode(work) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    collected = collect_files(work, HERE, nothing, OutputLimits())
    assert collected.files == ()
    assert reasons(collected) == {
        "link": "not a regular file",
        "folder-link": "not a regular file",
        "fifo": "not a regular file",
        "ff": "the name is not UTF-8",
    }


def test_number_and_size_are_bounded_and_said(tmp_path: Path) -> None:
    work = tmp_path / "work"
    place_files(work, HERE, {}, OURS)
    for name, size in {"a": 4, "b": 9, "c": 4, "d": 4, "e": 1, "f": 1}.items():
        (work / name).write_text("x" * size)
    limits = OutputLimits(files=3, bytes_per_file=8, bytes_total=10)
    collected = collect_files(work, HERE, nothing, limits)
    assert [file.path for file in collected.files] == ["a", "c", "e"]
    assert reasons(collected) == {
        "b": "larger than 8 bytes",
        "d": "more than 10 bytes in all",
        "f": "more than 3 files",
    }


def test_a_working_directory_replaced_by_a_link_returns_nothing(tmp_path: Path) -> None:
    work = tmp_path / "work"
    place_files(work, PurePosixPath("sub"), {}, OURS)
    (work / "sub").rmdir()
    (work / "sub").symlink_to("/etc")
    collected = collect_files(work, PurePosixPath("sub"), nothing, OutputLimits())
    assert collected.files == ()
    assert reasons(collected) == {"": "the working directory is gone"}
