"""Byte ranges for resumed downloads (RFC 9110, section 14)."""

import re
from dataclasses import dataclass

_SINGLE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class NotSatisfiable(Exception):
    """The requested range lies outside the content: 416, with `Content-Range: bytes */<size>`."""


@dataclass(frozen=True)
class Part:
    """Bytes `first` to `last`, both included, of `size`."""

    first: int
    last: int
    size: int

    @property
    def content_range(self) -> str:
        """The header a 206 carries."""
        return f"bytes {self.first}-{self.last}/{self.size}"

    def of(self, body: bytes) -> bytes:
        """The part of the body."""
        return body[self.first : self.last + 1]


def requested(range_header: str | None, if_range: str | None, etag: str, size: int) -> Part | None:
    """The requested range; None for the whole body (200). Raises NotSatisfiable.

    Anything but a single byte range is ignored, as the RFC allows; so is any range when `If-Range` names
    other content than `etag` (quotes included).
    """
    match = _SINGLE.fullmatch((range_header or "").strip())
    if match is None or (if_range is not None and if_range != etag):
        return None
    first, last = match.groups()
    if first:
        if last and int(last) < int(first):
            return None
        if int(first) >= size:
            raise NotSatisfiable
        return Part(int(first), min(int(last), size - 1) if last else size - 1, size)
    if not last:
        return None
    if int(last) == 0 or size == 0:
        raise NotSatisfiable
    return Part(max(0, size - int(last)), size - 1, size)
