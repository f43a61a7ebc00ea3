"""JSON from untrusted programs, made storable: it has a canonical form, and Postgres accepts it."""

from math import isfinite
from typing import Any

from sisu_pipeline.domain.canonical import MAX_SAFE_INTEGER

MOST_DEPTH = 100
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def plain_text(text: str) -> str:
    """The text without what UTF-8 or Postgres cannot hold: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", _REPLACEMENT)


def plain(value: Any, depth: int = MOST_DEPTH) -> Any:
    """The value with plain texts; numbers that JSON cannot hold exactly, and what is nested too deep, as text."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, int | float):
        return value if _is_exact(value) else str(value)
    if value is None or depth == 0:
        return None if value is None else "…"
    if isinstance(value, dict):
        return {plain_text(str(name)): plain(member, depth - 1) for name, member in value.items()}
    return [plain(member, depth - 1) for member in value]


def _is_exact(value: float) -> bool:
    return isfinite(value) if isinstance(value, float) else abs(value) <= MAX_SAFE_INTEGER
