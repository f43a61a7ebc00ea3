"""Selection of output files: bounded, ordered, with a note about each omitted file."""

import base64
from dataclasses import dataclass
from typing import Any

from sisu_pipeline.contracts.sandbox_request import FileOut
from sisu_pipeline.domain.canonical import sha256_hex

_MOST_SKIPPED_NAMED = 50


@dataclass(frozen=True)
class OutputLimits:
    """Limits on the output files that are returned."""

    files: int = 256
    bytes_per_file: int = 4 * 1024 * 1024
    bytes_total: int = 16 * 1024 * 1024


@dataclass(frozen=True)
class Collected:
    """The output files, sorted by path, and `evidence` for raw: omitted files with the reason."""

    files: tuple[FileOut, ...]
    evidence: dict[str, Any]


NO_FILES = Collected((), {})


class OutputSelection:
    """Accepts files in path order within the limits."""

    def __init__(self, limits: OutputLimits) -> None:
        self._limits = limits
        self._files: list[FileOut] = []
        self._bytes = 0
        self._skipped: list[dict[str, str]] = []

    def reason_to_skip(self, path: str, *, is_regular: bool, size: int) -> str | None:
        """The reason not to read a file of this kind and size (bytes); None if it is to be read."""
        if not is_regular:
            return "not a regular file"
        if not _is_unicode(path):
            return "the name is not UTF-8"
        return self.too_large if size > self._limits.bytes_per_file else None

    @property
    def too_large(self) -> str:
        """The reason that names the limit per file."""
        return f"larger than {self._limits.bytes_per_file} bytes"

    def keep(self, path: str, content: bytes) -> None:
        """Add the file, or note the limit it exceeds."""
        if len(content) > self._limits.bytes_per_file:
            self.skip(path, self.too_large)
        elif len(self._files) >= self._limits.files:
            self.skip(path, f"more than {self._limits.files} files")
        elif self._bytes + len(content) > self._limits.bytes_total:
            self.skip(path, f"more than {self._limits.bytes_total} bytes in all")
        else:
            self._bytes += len(content)
            self._files.append(file_out(path, content))

    def skip(self, path: str, reason: str) -> None:
        """Note a file that is not returned."""
        printable = path if _is_unicode(path) else path.encode("utf-8", "surrogateescape").hex()
        self._skipped.append({"path": printable, "reason": reason})

    def collected(self) -> Collected:
        """The result."""
        evidence: dict[str, Any] = {"returned": len(self._files), "bytes": self._bytes}
        if self._skipped:
            evidence["skipped"] = len(self._skipped)
            evidence["skippedFiles"] = self._skipped[:_MOST_SKIPPED_NAMED]
        return Collected(tuple(self._files), evidence)


def file_out(path: str, content: bytes) -> FileOut:
    """Text goes inline; anything else (NUL included, which Postgres text cannot hold) as a data: URI."""
    digest = sha256_hex(content)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return FileOut(path=path, sha256=digest, inline=text)
    encoded = base64.b64encode(content).decode()
    return FileOut(path=path, sha256=digest, uri=f"data:application/octet-stream;base64,{encoded}")


def _is_unicode(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
