"""The archive that goes in and the account that comes out."""

import io
import tarfile
from pathlib import PurePosixPath

import pytest

from resources.sandbox.e2b.runner_script import ChangedFile, package, parse_end

TIMES = "0m0.010s 0m0.020s\n1m2.500s 0m0.250s\n"


def members(archive: bytes) -> dict[str, bytes | None]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name: (file.read() if (file := tar.extractfile(m)) else None) for m in tar.getmembers()}


def test_an_archive_holds_the_command_and_its_files_as_they_are() -> None:
    inside = members(package("printf '\n'", {"A": "1\n2"}, PurePosixPath("it's"), {"a\nb": b"\0", "ü/x": b""}))
    assert inside[".sisu/cmd"] == b"printf '\n'"
    assert inside[".sisu/env"] == b"PYTHONDONTWRITEBYTECODE=1\0A=1\n2\0"
    assert inside["work/it's"] is None
    assert (inside["work/it's/a\nb"], inside["work/it's/ü/x"]) == (b"\0", b"")
    assert (inside[".sisu/run"] or b"").startswith(b"work=~/'work/it'\"'\"'s'\n")


def test_an_account_is_read_as_written() -> None:
    ending = parse_end(f"3 1234 1\n{TIMES}".encode() + b"\0f 5 a b\nc\0l 0 link\0f 0 \xff\0")
    assert (ending.exit_code, ending.wall_ms, ending.cpu_ms, ending.oom_kills) == (3, 1234, 62_750, 1)
    assert ending.left == (
        ChangedFile("a b\nc", True, 5),
        ChangedFile("link", False, 0),
        ChangedFile("\udcff", True, 0),
    )


def test_a_lost_working_directory_is_said() -> None:
    assert parse_end(f"0 1 0\n{TIMES}".encode() + b"\0gone\0").left is None


def test_a_listing_that_was_cut_loses_its_last_entry_only() -> None:
    assert parse_end(f"0 1 0\n{TIMES}".encode() + b"\0f 5 a\0f 1").left == (ChangedFile("a", True, 5),)


@pytest.mark.parametrize("content", [b"", b"0 1\n", b"x 1 0\n\n\n\0"])
def test_what_is_no_account_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        parse_end(content)
