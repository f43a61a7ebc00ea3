"""Strict parsing of request bodies: JSON (RFC 8259) with one meaning for every reader, then the contract.

Rejected in addition to syntax errors: duplicate keys, NaN and infinities, integers outside ±(2^53-1), doubles that
overflow, NUL and lone surrogates (Postgres stores neither), nesting deeper than 64.
"""

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Any, NoReturn, TypeVar, get_args

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from sisu_pipeline.api.http.error_responses import Refusal, bounded, quoted
from sisu_pipeline.api.schemas.problem_schemas import Detail
from sisu_pipeline.contracts.base import Contract, ContractInvalid
from sisu_pipeline.domain.canonical import MAX_SAFE_INTEGER

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 64
SMALL_BYTES = 4 * 1024
"""Enough for a token."""
FORM_BYTES = 128 * 1024
"""Enough for an answer of 64 KiB, a reason or a rejection."""
MOST_MEMBERS = 1000
"""Members of one object of a contract; no contract has nearly as many."""
# A plain decision is far smaller; a changed plan may have megabytes.
_LARGE_BYTES = 8 * 1024

C = TypeVar("C", bound=Contract)


class MalformedJson(ValueError):
    """The bytes are not accepted as JSON. The message states the reason in bounded length."""


def body_of(most_bytes: int) -> Callable[[Request], Awaitable[bytes]]:
    """A dependency that reads a body of at most so many bytes."""

    async def read_body(request: Request) -> bytes:
        return await read(request, most_bytes)

    return read_body


async def read(request: Request, most_bytes: int = MAX_BYTES) -> bytes:
    """The whole body, also a second time. The content type is ignored.

    Raises Refusal 413 when it is larger, 415 when it is compressed.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        raise Refusal(
            415, "unsupported_encoding", f"send the body uncompressed (got Content-Encoding {quoted(encoding)})"
        )
    if not hasattr(request.state, "body"):
        request.state.body = await _received(request, most_bytes)
    body: bytes = request.state.body
    return body


async def _received(request: Request, most_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            # A client that is still sending when the connection closes never reads the refusal.
            if size > 4 * MAX_BYTES:
                break
            if size <= most_bytes:
                chunks.append(chunk)
            else:
                chunks.clear()
    except ClientDisconnect:
        raise Refusal(400, "invalid_json", "the client disconnected before the end of the body") from None
    if size > most_bytes:
        raise Refusal(413, "body_too_large", f"the body is larger than {most_bytes} bytes")
    return b"".join(chunks)


RawBody = Annotated[bytes, Depends(body_of(MAX_BYTES))]
SmallBody = Annotated[bytes, Depends(body_of(SMALL_BYTES))]
FormBody = Annotated[bytes, Depends(body_of(FORM_BYTES))]


def parse(raw: bytes, contract: type[C]) -> C:
    """The body as an instance of its contract; no bytes at all are `{}`. Raises Refusal 400."""
    try:
        value = parse_json(raw) if raw else {}
    except MalformedJson as failure:
        raise Refusal(400, "invalid_json", "invalid json", [Detail(pointer="", message=str(failure))]) from None
    _check_members(value, contract, "")
    try:
        return contract.from_json(value)
    except ContractInvalid as failure:
        raise contract_refusal(failure) from None


def _check_members(value: Any, contract: type[Contract], place: str) -> None:
    """Raises Refusal 400 for an object with so many members that listing the unknown ones would take long."""
    if not isinstance(value, dict):
        return
    if len(value) > MOST_MEMBERS:
        message = f"it has {len(value)} members; at most {MOST_MEMBERS} are accepted"
        details = [Detail(pointer=place, message=message)]
        raise Refusal(400, "invalid_contract", f"invalid {contract.__name__}: {message}", details)
    for name, field in contract.model_fields.items():
        key = field.alias or name
        for nested in _contracts(field.annotation):
            child = value.get(key)
            for item in child if isinstance(child, list) else [child]:
                _check_members(item, nested, f"{place}/{key}")


def _contracts(annotation: Any) -> Iterator[type[Contract]]:
    """The contracts an annotation mentions, in lists and unions too."""
    if isinstance(annotation, type) and issubclass(annotation, Contract):
        yield annotation
    for argument in get_args(annotation):
        yield from _contracts(argument)


async def parse_aside(raw: bytes, contract: type[C]) -> C:
    """Parse without blocking the event loop: a large body is parsed in a thread."""
    return await run_in_threadpool(parse, raw, contract) if len(raw) > _LARGE_BYTES else parse(raw, contract)


def contract_refusal(failure: ContractInvalid, code: str = "invalid_contract") -> Refusal:
    """A 400 that lists every broken rule of the contract."""
    return Refusal(
        400,
        code,
        str(failure),
        [Detail(pointer=fault.pointer, message=fault.message) for fault in failure.faults],
    )


def parse_json(raw: bytes) -> Any:
    """The JSON value; 1.0 becomes 1, since JSON has one kind of number. Raises MalformedJson."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedJson(f"not UTF-8 at byte {error.start}") from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise MalformedJson(f"{error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise MalformedJson(_TOO_DEEP) from None
    # Only an escape can bring in NUL or half a surrogate pair, only many brackets can nest deeply.
    if "\\u" in text or text.count("{") + text.count("[") > MAX_DEPTH:
        _check(value)
    return value


_TOO_DEEP = f"nested deeper than {MAX_DEPTH}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise MalformedJson(f"duplicate key {quoted(key)}")
            seen.add(key)
    return members


def _integer(digits: str) -> int:
    # Length first: Python refuses, slowly, to read thousands of digits.
    if len(digits) > 17 or abs(value := int(digits)) > MAX_SAFE_INTEGER:
        raise MalformedJson(f"integer {bounded(digits, 40)} is outside ±(2^53-1)")
    return value


def _number(text: str) -> float | int:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise MalformedJson(f"number {bounded(text, 40)} overflows a double")
    return int(value) if value.is_integer() and abs(value) <= MAX_SAFE_INTEGER else value


def _constant(name: str) -> NoReturn:
    raise MalformedJson(f"{name} is not JSON")


def _check(value: Any) -> None:
    """Reject what only the whole value shows; iterative, because the client chooses the nesting."""
    pending = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, dict | list):
            if depth > MAX_DEPTH:
                raise MalformedJson(_TOO_DEEP)
            if isinstance(item, dict):
                for key in item:
                    _check_text(key)
                pending.extend((child, depth + 1) for child in item.values())
            else:
                pending.extend((child, depth + 1) for child in item)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise MalformedJson("a string contains NUL")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedJson("a string contains a lone surrogate") from None
