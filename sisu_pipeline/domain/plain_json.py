"""JSON from untrusted programs, made storable or refused: it has a canonical form, and Postgres accepts it."""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from sisu_pipeline.domain.canonical import MAX_SAFE_INTEGER

MOST_DEPTH = 100
LONGEST_MESSAGE = 10_000
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def plain_text(text: str) -> str:
    """The text without what UTF-8 or Postgres cannot hold: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", _REPLACEMENT)


def plain_message(text: str) -> str:
    """A message of any program as a row holds it: a plain text of bounded length."""
    return plain_text(text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…")


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


def unstorable(value: Any) -> str | None:
    """The first place in a JSON value that cannot be stored, and the reason; None when all of it can be."""
    return next(_unstorable(value, "", MOST_DEPTH), None)


def _unstorable(value: Any, place: str, depth: int) -> Iterator[str]:
    name = place.removeprefix(".") or "the value"
    if not isinstance(value, dict | list):
        reason = _reason(value)
        yield from () if reason is None else (f"{name} {reason}",)
    elif depth == 0:
        yield f"{name} is nested more than {MOST_DEPTH} levels deep"
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _unstorable(key, f"a name in {name}", depth)
            yield from _unstorable(member, f"{place}.{plain_text(key)[:60]}", depth - 1)
    else:
        for index, item in enumerate(value):
            yield from _unstorable(item, f"{place}[{index}]", depth - 1)


def _reason(value: str | float | None) -> str | None:
    """Why a text or a number cannot be stored; None when it can be."""
    if isinstance(value, str):
        if "\0" in value:
            return "contains the character U+0000"
        return None if value == plain_text(value) else "contains half of a surrogate pair"
    if value is None or _is_exact(value):
        return None
    return f"is {str(value)[:30]}, a number that JSON cannot hold exactly"


def _is_exact(value: float) -> bool:
    return isfinite(value) if isinstance(value, float) else abs(value) <= MAX_SAFE_INTEGER
