"""Whether a stored diff is exactly the change of a file.

To compare two long texts takes much longer than to follow a diff from one to the other.
"""

import re
from collections.abc import Iterator, Sequence

from sisu_pipeline.domain.changes.file_diff import NO_NEWLINE, FileState, head_of_hunks, lines_of

_HUNK = re.compile(r"@@ -([0-9]+)(?:,([0-9]+))? \+([0-9]+)(?:,([0-9]+))? @@\n")


class _Deviates(Exception):
    """The diff is not of this change."""


def is_exact(
    diff: str, path: str, old: FileState | None, new: FileState | None, old_path: str | None = None
) -> bool:
    """Whether a diff has the head of this change, and hunks that turn the old lines into the new ones.

    False for a diff without hunks, which is computed as fast as it is checked.
    """
    head = head_of_hunks(path, old, new, old_path)
    if head is None or not diff.startswith(head):
        return False
    before, after = lines_of(old), lines_of(new)
    try:
        _follow([f"{line}\n" for line in diff[len(head) :].split("\n")[:-1]], before, after)
    except _Deviates:
        return False
    return True


def _follow(lines: Sequence[str], old: Sequence[str], new: Sequence[str]) -> None:
    """Follow the hunks through both texts; raises _Deviates where they differ from one of them."""
    place_old = place_new = 0
    for size, start_old, start_new, hunk in _hunks(lines):
        _expect(start_old - place_old == start_new - place_new >= 0)
        _expect(old[place_old:start_old] == new[place_new:start_new])
        removed = [line for mark, line in hunk if mark in " -"]
        added = [line for mark, line in hunk if mark in " +"]
        _expect((len(removed), len(added)) == size)
        place_old, place_new = start_old + size[0], start_new + size[1]
        _expect(old[start_old:place_old] == removed and new[start_new:place_new] == added)
    _expect(old[place_old:] == new[place_new:])


def _hunks(lines: Sequence[str]) -> Iterator[tuple[tuple[int, int], int, int, list[tuple[str, str]]]]:
    """The hunks of a diff: the numbers of old and new lines, where they start, and the lines with their marks."""
    place = 0
    while place < len(lines):
        head = _HUNK.fullmatch(lines[place])
        if head is None:
            raise _Deviates
        size = (_count(head[2]), _count(head[4]))
        hunk: list[tuple[str, str]] = []
        place += 1
        while place < len(lines) and not lines[place].startswith("@"):
            line = lines[place]
            if line == NO_NEWLINE and hunk:
                hunk[-1] = (hunk[-1][0], hunk[-1][1].removesuffix("\n"))
            else:
                _expect(line[0] in " +-")
                hunk.append((line[0], line[1:]))
            place += 1
        # Without lines on one side, the head names the line before.
        yield size, int(head[1]) - (1 if size[0] else 0), int(head[3]) - (1 if size[1] else 0), hunk


def _count(number: str | None) -> int:
    return 1 if number is None else int(number)


def _expect(holds: bool) -> None:
    if not holds:
        raise _Deviates
