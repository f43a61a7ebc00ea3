"""Diffs computed from old and new bytes, in the format that `git apply` accepts.

https://git-scm.com/docs/diff-format describes the format. Content that is UTF-8 without NUL is text; anything else
is a binary patch. Lines end at a line feed only, so that a carriage return is part of its line.
"""

import zlib
from base64 import b85encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from sisu_pipeline.contracts.sandbox_request import Mode
from sisu_pipeline.domain.canonical import git_blob_id, sha256_hex
from sisu_pipeline.domain.untrusted_text import hidden_characters

CONTEXT = 3
_NO_BLOB = "0" * 40
NO_NEWLINE = "\\ No newline at end of file\n"
_BINARY_LINE = 52
_MOST_PAIRS = 100_000
"""Pairs of an old and an equal new line that are looked at; the time of a comparison grows with them."""
_Opcode = tuple[Literal["replace", "delete", "insert", "equal"], int, int, int, int]


@dataclass(frozen=True)
class FileState:
    """A file as it is before or after a change."""

    content: bytes
    mode: Mode = "100644"

    @property
    def text(self) -> str | None:
        """The content as text; None when it is binary."""
        if b"\0" in self.content:
            return None
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            return None


def unified_diff(path: str, old: FileState | None, new: FileState | None, old_path: str | None = None) -> str:
    """The diff of one file, empty when nothing changes. No `old` creates the file, no `new` deletes it.

    `old_path` is the file's earlier path when the change renames it.
    """
    before = old_path or path
    if old == new and before == path:
        return ""
    head = "".join(_head(path, old, new, before))
    if _same_content(old, new):
        return head
    if _is_binary(old, new):
        return "".join([head, "GIT binary patch\n", *_literal(new), *_literal(old)])
    return "".join([head, *_hunks(lines_of(old), lines_of(new))])


def head_of_hunks(
    path: str, old: FileState | None, new: FileState | None, old_path: str | None = None
) -> str | None:
    """The lines of a diff before its first hunk; None for a diff that has no hunks."""
    if _same_content(old, new) or _is_binary(old, new):
        return None
    return "".join(_head(path, old, new, old_path or path))


def lines_of(state: FileState | None) -> list[str]:
    """The lines of a text, each with its line feed; the last one may have none."""
    text = "" if state is None else state.text or ""
    lines = text.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def remarks(old: FileState | None, new: FileState | None) -> list[str]:
    """What a reader could overlook: line endings, a missing end of line, the mode, hidden characters."""
    found = []
    if old is not None and new is not None and old.mode != new.mode:
        found.append(f"the mode changes from {old.mode} to {new.mode}")
    if old is None and new is not None and new.mode == "100755":
        found.append("the file is executable")
    if _is_binary(old, new):
        return [*found, f"the content is binary: {_described(old, new)}"]
    before, after = (_line_endings(old), _line_endings(new)) if old is not None else ("", _line_endings(new))
    if old is not None and new is not None and before != after and "none" not in (before, after):
        found.append(f"line endings change from {before} to {after}")
    elif old is None and new is not None and after not in ("LF", "none"):
        found.append(f"line endings are {after}")
    if new is not None and new.content and not new.content.endswith(b"\n"):
        found.append("the last line has no line end")
    if new is not None and new.text is not None:
        added = set(hidden_characters(new.text)) - {"\\x0d"}
        if added:
            found.append(f"hidden characters: {' '.join(sorted(added))}")
    return found


def _described(old: FileState | None, new: FileState | None) -> str:
    """Size and hash of binary content before and after."""
    states = [state for state in (old, new) if state is not None]
    shown = [f"{len(state.content)} bytes, sha256 {sha256_hex(state.content)}" for state in states]
    return " → ".join(dict.fromkeys(shown))


def _same_content(old: FileState | None, new: FileState | None) -> bool:
    return (old.content if old else b"") == (new.content if new else b"")


def _is_binary(*states: FileState | None) -> bool:
    return any(state is not None and state.text is None for state in states)


def _head(path: str, old: FileState | None, new: FileState | None, before: str) -> Iterator[str]:
    yield f"diff --git {_quoted('a/' + before)} {_quoted('b/' + path)}\n"
    yield from _headers(before, path, old, new)
    if _same_content(old, new):
        return
    yield _index(old, new)
    if not _is_binary(old, new):
        yield f"--- {'/dev/null' if old is None else _name('a/' + before)}\n"
        yield f"+++ {'/dev/null' if new is None else _name('b/' + path)}\n"


def _headers(before: str, path: str, old: FileState | None, new: FileState | None) -> Iterator[str]:
    if old is None:
        assert new is not None, "a change has an old or a new state"
        yield f"new file mode {new.mode}\n"
    elif new is None:
        yield f"deleted file mode {old.mode}\n"
    elif old.mode != new.mode:
        yield f"old mode {old.mode}\nnew mode {new.mode}\n"
    if old is not None and new is not None and before != path:
        if old.content == new.content:
            yield "similarity index 100%\n"
        yield f"rename from {_quoted(before)}\nrename to {_quoted(path)}\n"


def _index(old: FileState | None, new: FileState | None) -> str:
    blobs = [_NO_BLOB if state is None else git_blob_id(state.content) for state in (old, new)]
    mode = f" {old.mode}" if old is not None and new is not None and old.mode == new.mode else ""
    return f"index {blobs[0]}..{blobs[1]}{mode}\n"


class _LineMatcher(SequenceMatcher[str]):
    """Aligns two texts whose first `start` and last `end` lines are equal, so that a small change is found fast.

    Those lines keep their places: `git apply` takes a hunk with less context after the change than before it as the
    end of the file.
    """

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        self._sizes = len(old), len(new)
        self._start = _common(old, new)
        self._end = _common(old[self._start :][::-1], new[self._start :][::-1])
        changed = [lines[self._start : len(lines) - self._end] for lines in (old, new)]
        # Setting frequent lines aside keeps the time bounded; the diff stays exact, if longer.
        super().__init__(_frequent(changed[0], changed[1]).__contains__, changed[0], changed[1], autojunk=False)

    def get_opcodes(self) -> list[_Opcode]:
        start, end, (old, new) = self._start, self._end, self._sizes
        codes: list[_Opcode] = [
            (tag, start + i, start + j, start + k, start + m) for tag, i, j, k, m in super().get_opcodes()
        ]
        if start:
            codes.insert(0, ("equal", 0, start, 0, start))
        if end:
            codes.append(("equal", old - end, old, new - end, new))
        return codes


def _frequent(old: Sequence[str], new: Sequence[str]) -> frozenset[str]:
    """The most frequent lines of both texts: so many that few pairs of other lines are equal."""
    counts_old, counts_new = _counts(old), _counts(new)
    pairs = {line: count * counts_new[line] for line, count in counts_old.items() if line in counts_new}
    most, total, frequent = max(_MOST_PAIRS, 2 * len(old), 2 * len(new)), 0, []
    for line in sorted(pairs, key=lambda line: (pairs[line], line)):
        total += pairs[line]
        if total > most:
            frequent.append(line)
    return frozenset(frequent)


def _counts(lines: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in lines:
        counts[line] = counts.get(line, 0) + 1
    return counts


def _hunks(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    for group in _LineMatcher(old, new).get_grouped_opcodes(CONTEXT):
        (_, first_old, _, first_new, _), (_, _, last_old, _, last_new) = group[0], group[-1]
        yield f"@@ -{_range(first_old, last_old)} +{_range(first_new, last_new)} @@\n"
        for tag, old_start, old_stop, new_start, new_stop in group:
            if tag == "equal":
                yield from _marked(" ", old[old_start:old_stop])
            else:
                yield from _marked("-", old[old_start:old_stop])
                yield from _marked("+", new[new_start:new_stop])


def _marked(mark: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield f"{mark}{line}" if line.endswith("\n") else f"{mark}{line}\n{NO_NEWLINE}"


def _range(start: int, stop: int) -> str:
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    most = min(len(one), len(other))
    return next((place for place in range(most) if one[place] != other[place]), most)


def _literal(state: FileState | None) -> Iterator[str]:
    """The whole content as a literal of a binary patch: deflated, in git's base 85, 52 bytes a line."""
    content = b"" if state is None else state.content
    deflated = zlib.compress(content)
    yield f"literal {len(content)}\n"
    for start in range(0, len(deflated), _BINARY_LINE):
        piece = deflated[start : start + _BINARY_LINE]
        length = chr(ord("A") + len(piece) - 1) if len(piece) <= 26 else chr(ord("a") + len(piece) - 27)
        yield f"{length}{b85encode(piece, pad=True).decode()}\n"
    yield "\n"


def _line_endings(state: FileState | None) -> str:
    content = b"" if state is None else state.content
    crlf, lines = content.count(b"\r\n"), content.count(b"\n")
    if not lines:
        return "none"
    return "CRLF" if crlf == lines else ("mixed" if crlf else "LF")


def _name(path: str) -> str:
    """A name of the `---` and `+++` lines: git ends one that has a space with a tab."""
    quoted = _quoted(path)
    return f"{quoted}\t" if " " in quoted and not quoted.startswith('"') else quoted


def _quoted(path: str) -> str:
    """A path as git writes it: in quotes with escapes when it has characters that a line could not hold."""
    raw = path.encode()
    if all(0x20 <= byte < 0x7F and byte not in b'"\\' for byte in raw):
        return path
    named = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}
    shown = "".join(
        f"\\{named[byte]}" if byte in named else (chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}")
        for byte in raw
    )
    return f'"{shown}"'
