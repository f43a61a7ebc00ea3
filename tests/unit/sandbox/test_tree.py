"""Walking and removing whatever a command may have built."""

import os
from pathlib import Path

import pytest

from resources.sandbox.local.isolation import file_tree
from resources.sandbox.local.isolation.disk_limit import used_bytes


def walked(folder: Path, most_entries: int = file_tree.MOST_ENTRIES) -> list[str]:
    descriptor = file_tree.open_folder(folder)
    try:
        return sorted(entry.path for entry in file_tree.walk(descriptor, None, most_entries))
    finally:
        os.close(descriptor)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_links_are_named_but_not_followed(tmp_path: Path) -> None:
    (tmp_path / "box" / "in").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("")
    (tmp_path / "box" / "in" / "file").write_text("")
    (tmp_path / "box" / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "box" / "fifo")
    assert walked(tmp_path / "box") == ["fifo", "in/file", "link"]
    with pytest.raises(OSError, match=r"link|directory|levels"):
        file_tree.open_folder(tmp_path / "box" / "link")


def test_a_path_through_a_link_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("")
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "link").symlink_to(tmp_path / "secret")
    root = file_tree.open_folder(tmp_path / "box")
    before = descriptors()
    for parts in (("link", "file"), ("link",), ("none",)):
        with pytest.raises(OSError, match=r"link|directory|levels|file"):
            file_tree.open_beneath(root, parts, os.O_RDONLY)
    assert descriptors() == before
    os.close(root)


def test_depth_and_number_are_bounded(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    deep.joinpath(*["d"] * (file_tree.MOST_DEPTH + 1)).mkdir(parents=True)
    before = descriptors()
    with pytest.raises(file_tree.TreeTooLarge):
        walked(deep)
    wide = tmp_path / "wide"
    wide.mkdir()
    for number in range(3):
        (wide / str(number)).write_text("")
    assert len(walked(wide, 3)) == 3
    (wide / "more").write_text("")
    with pytest.raises(file_tree.TreeTooLarge):
        walked(wide, 3)
    assert descriptors() == before


def test_used_bytes_counts_blocks_not_holes(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x" * 100_000)
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert 100_000 <= used_bytes(tmp_path) < 1 << 20


def test_a_very_deep_and_closed_tree_is_removed(tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    (box / "removed-1").write_text("a name the removal itself would use")
    folder = os.open(box, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=folder)
        (inner, outer) = (os.open("d", os.O_RDONLY, dir_fd=folder), folder)
        os.close(outer)
        folder = inner
    os.symlink("/etc", "link", dir_fd=folder)
    os.fchmod(folder, 0)
    os.close(folder)
    file_tree.remove_tree(box)
    assert list(tmp_path.iterdir()) == []
    assert Path("/etc").exists()


def test_only_an_empty_file_is_removed_and_never_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "empty").touch()
    (tmp_path / "a" / "full").write_text("x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "empty").touch()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "outside")
    for path in ("a/empty", "a/full", "a/link/empty", "a/missing", "missing/empty"):
        file_tree.remove_empty_file(tmp_path, path)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["full", "link"]
    assert (tmp_path / "outside" / "empty").exists()
