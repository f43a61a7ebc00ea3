"""Canonical JSON and hashes. This module is the only one that hashes.

Canonical JSON follows RFC 8785 (ECMAScript number and string text, no white space) with object keys in
Unicode code-point order. Keys of the astral planes therefore sort after U+FFFF, where RFC 8785's UTF-16
order would put them before U+E000; every other key sorts the same.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

MAX_SAFE_INTEGER = 2**53 - 1

_LITERALS = {None: "null", True: "true", False: "false"}

JsonValue = Any
"""Anything `json.loads` can return: None, bool, int, float, str, list, dict with str keys."""

_Emit = Callable[[JsonValue], Iterable[str]]


class CanonicalError(ValueError):
    """The value has no canonical JSON form (NaN, an unsafe integer, a lone surrogate, a foreign type)."""


def canonical_json(value: JsonValue) -> str:
    """The canonical JSON text of `value`. Raises CanonicalError for a value that JSON cannot represent exactly."""
    if not _is_plain(value):
        return "".join(_emit(value))
    # Without doubles the standard encoder, which is written in C, returns exactly the same.
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    _check_surrogates(text)
    return text


def canonical_pieces(value: JsonValue) -> Iterator[str]:
    """The canonical JSON of `value` in pieces: joined, they are the text. Raises CanonicalError on the way.

    An item of a list is a piece, so that a long list can be made, written and hashed an item at a time.
    """
    if isinstance(value, Mapping):
        yield from _object(value, canonical_pieces)
    elif _is_array(value):
        yield from _array(value, lambda item: (canonical_json(item),))
    else:
        yield canonical_json(value)


def sha256_hex(content: str | bytes) -> str:
    """Lowercase hex sha256 of raw bytes; text is hashed as its UTF-8 bytes, without quotes."""
    return hashlib.sha256(content.encode("utf-8") if isinstance(content, str) else content).hexdigest()


def sha256_json(value: JsonValue) -> str:
    """Lowercase hex sha256 of the canonical JSON of `value`."""
    return sha256_hex(canonical_json(value))


def sha256_pieces(pieces: Iterable[str]) -> str:
    """Lowercase hex sha256 of a text that comes in pieces."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece.encode("utf-8"))
    return digest.hexdigest()


def git_blob_id(content: bytes) -> str:
    """The id that git gives a file's content: the sha1 of `blob <length>`, a NUL byte and the content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def hmac_sha256_hex(secret: str, content: bytes) -> str:
    """Lowercase hex HMAC-SHA256 (RFC 2104) of raw bytes under a secret's UTF-8 bytes."""
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def same_json(left: JsonValue, right: JsonValue) -> bool:
    """True when both values have the same canonical JSON."""
    return canonical_json(left) == canonical_json(right)


def load_stored_json(text: str | bytes) -> JsonValue:
    """Parse JSON written by the database, which spells the double 1e21 as a long integer."""
    return json.loads(text, parse_int=_stored_integer)


def _stored_integer(digits: str) -> int | float:
    number = int(digits)
    return number if abs(number) <= MAX_SAFE_INTEGER else float(digits)


def _is_plain(value: JsonValue) -> bool:
    """Whether the value holds only what the standard encoder writes canonically: no doubles, nothing foreign."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return bool(-MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER)
    if kind is dict:
        return all(type(key) is str and _is_plain(member) for key, member in value.items())
    return (kind is list or kind is tuple) and all(map(_is_plain, value))


def _check_surrogates(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CanonicalError("string contains a lone surrogate") from error


def _emit(value: JsonValue) -> Iterator[str]:
    if value is None or isinstance(value, bool):
        yield _LITERALS[value]
    elif isinstance(value, str):
        yield _string(value)
    elif isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise CanonicalError(f"integer {value} is outside ±(2^53-1) and has no exact JSON form")
        yield str(value)
    elif isinstance(value, float):
        yield _number(value)
    elif isinstance(value, Mapping):
        yield from _object(value, _emit)
    elif _is_array(value):
        yield from _array(value, _emit)
    else:
        raise CanonicalError(f"{type(value).__name__} is not a JSON value")


def _is_array(value: JsonValue) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _array(items: Sequence[JsonValue], emit: _Emit) -> Iterator[str]:
    yield "["
    for index, item in enumerate(items):
        yield "," if index else ""
        yield from emit(item)
    yield "]"


def _object(members: Mapping[Any, JsonValue], emit: _Emit) -> Iterator[str]:
    if not all(isinstance(key, str) for key in members):
        raise CanonicalError("object keys must be strings")
    yield "{"
    for index, key in enumerate(sorted(members)):
        yield ("," if index else "") + _string(key) + ":"
        yield from emit(members[key])
    yield "}"


def _string(text: str) -> str:
    _check_surrogates(text)
    # json.dumps escapes exactly what ECMAScript escapes once ASCII escaping is off: ", \, U+0000–U+001F.
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    """ECMAScript Number::toString (ECMA-262 §6.1.6.1.20), from Python's equally short digits."""
    if value != value or value in (float("inf"), float("-inf")):
        raise CanonicalError(f"{value} is not a JSON number")
    if value == 0:
        return "0"
    sign, digit_tuple, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    digits = "".join(map(str, digit_tuple)).rstrip("0")
    point = len(digit_tuple) + exponent  # the decimal point follows this many digits
    return ("-" if sign else "") + _decimal_text(digits, point)


def _decimal_text(digits: str, point: int) -> str:
    count = len(digits)
    if count <= point <= 21:
        return digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    mantissa = digits[0] + (f".{digits[1:]}" if count > 1 else "")
    exponent = point - 1
    return f"{mantissa}e{'+' if exponent >= 0 else '-'}{abs(exponent)}"
