"""Forms of ask gates: a safe part of JSON Schema 2020-12, and the check of answers against them.

A form comes from an intent or an agent. It may describe an object, its members and their bounds, and nothing that
could be fetched (`$ref`) or take unbounded time (`pattern`, `uniqueItems` without a bound, large combinations).
Each keyword is recognized by its position, so a property may have any name.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import SchemaError
from jsonschema.validators import extend
from referencing import Registry

from sisu_pipeline.domain.canonical import canonical_json

MAX_BYTES = 16 * 1024
"""The most bytes of a form's canonical JSON."""
MAX_ANSWER_BYTES = 64 * 1024
"""The most bytes of an answer's canonical JSON."""
MAX_DEPTH = 10
"""How deep schemas may nest."""
MAX_UNIQUE_ITEMS = 100
"""The most items of a list whose items must differ: comparing them takes quadratic time."""
MAX_CHECKS = 50_000
"""The most checks of one answer, about a second: its values times the schemas and listed values of the form."""

_MOST_FAULTS = 20
_MOST_ERRORS = 100
_LONGEST_MESSAGE = 200
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_PLAIN = frozenset(
    {
        *(
            "$comment",
            "$schema",
            "title",
            "description",
            "default",
            "examples",
            "readOnly",
            "writeOnly",
            "deprecated",
        ),
        *("type", "enum", "const", "required", "dependentRequired", "minProperties", "maxProperties"),
        *("minItems", "maxItems", "uniqueItems", "minLength", "maxLength", "multipleOf"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    }
)
_LISTS = ("enum", "const", "required", "dependentRequired")
_SCHEMA = frozenset({"items", "additionalProperties", "not"})
_SCHEMA_LIST = frozenset({"prefixItems", "anyOf", "oneOf", "allOf"})
_SCHEMA_MAP = frozenset({"properties", "$defs"})

_TYPES = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


class FormInvalid(Exception):
    """The form cannot be shown; the message names the member and the reason."""


class Fault(NamedTuple):
    """Where an answer does not fit its form: an RFC 6901 pointer into the answer, and the reason."""

    pointer: str
    message: str


def check_form(schema: Any) -> None:
    """Raises FormInvalid unless this is the schema of an object in the supported part of JSON Schema 2020-12."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise FormInvalid('a form must be the JSON Schema of an object: {"type": "object", …}')
    size = len(canonical_json(schema).encode())
    if size > MAX_BYTES:
        raise FormInvalid(f"a form may have at most {MAX_BYTES} bytes (got {size})")
    _check_schema(schema, "", 0)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = _pointer(error.absolute_path) or "the form"
        raise FormInvalid(f"{place} has a value that JSON Schema does not allow there") from None


def faults(schema: dict[str, Any], answer: Any) -> list[Fault]:
    """Where the answer does not fit, sorted, at most 20; [] when it fits."""
    if len(canonical_json(answer).encode()) > MAX_ANSWER_BYTES:
        return [Fault("", f"an answer may have at most {MAX_ANSWER_BYTES} bytes")]
    if _values(answer) * _checks(schema) > MAX_CHECKS:
        return [Fault("", "the answer is too large for this form: give fewer items")]
    errors = islice(_Validator(schema, registry=Registry()).iter_errors(answer), _MOST_ERRORS)
    found = {Fault(_pointer(error.absolute_path), _message(error)) for error in errors}
    return sorted(found)[:_MOST_FAULTS]


def _check_schema(schema: Any, place: str, depth: int) -> None:
    """Raises FormInvalid for the first keyword that is not supported at its place."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise FormInvalid(f"{place or 'the form'} must be a schema: an object, true or false")
    if depth > MAX_DEPTH:
        raise FormInvalid(f"{place} is nested too deeply: at most {MAX_DEPTH} levels")
    for keyword, value in schema.items():
        if keyword not in _PLAIN and keyword not in _SCHEMA | _SCHEMA_LIST | _SCHEMA_MAP:
            raise FormInvalid(f"{place}/{_escaped(keyword)[:100]} is not supported in a form")
        for name, child in _children(keyword, value):
            _check_schema(child, f"{place}/{keyword}{name}", depth + 1)
    if schema.get("$schema", _DIALECT) != _DIALECT:
        raise FormInvalid(f"{place}/$schema must be {_DIALECT}")
    most = schema.get("maxItems")
    if schema.get("uniqueItems") and not (isinstance(most, int) and most <= MAX_UNIQUE_ITEMS):
        raise FormInvalid(f"{place}/uniqueItems requires maxItems of at most {MAX_UNIQUE_ITEMS}")


def _children(keyword: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The schemas under a keyword, each with its place below it."""
    if keyword in _SCHEMA:
        yield "", value
    elif keyword in _SCHEMA_LIST and isinstance(value, list):
        yield from ((f"/{number}", child) for number, child in enumerate(value))
    elif keyword in _SCHEMA_MAP and isinstance(value, dict):
        yield from ((f"/{_escaped(name)}", child) for name, child in value.items())


def _checks(schema: Any) -> int:
    """How many schemas and listed values a form has: what each value of an answer may be compared with."""
    if not isinstance(schema, dict):
        return 1
    listed = sum(_values(schema[keyword]) for keyword in _LISTS if keyword in schema)
    # Each item of such a list is compared with every other one.
    compared = schema["maxItems"] if schema.get("uniqueItems") else 0
    children = (child for keyword, value in schema.items() for _, child in _children(keyword, value))
    return int(1 + listed + compared + sum(map(_checks, children)))


def _values(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_values, value.values()))
    return 1 + sum(map(_values, value)) if isinstance(value, list) else 1


def _multiple_of(
    validator: Any, divisor: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """`multipleOf` of decimals as they are written: 19.99 is a multiple of 0.01."""
    if validator.is_type(instance, "number") and _exact(instance) % _exact(divisor):
        yield ValidationError(f"must be a multiple of {divisor}")


def _exact(number: Any) -> Fraction:
    return Fraction(Decimal(repr(number)))


_Validator: Any = extend(Draft202012Validator, {"multipleOf": _multiple_of})  # type: ignore[no-untyped-call]


def _message(error: ValidationError) -> str:
    """The reason in plain words; nothing of the answer is repeated but the names of its members."""
    bound: Any = error.validator_value
    words: dict[str, Callable[[], str]] = {
        "type": lambda: f"must be {_type_names(bound)}",
        "enum": lambda: f"must be one of: {', '.join(map(canonical_json, bound))}",
        "const": lambda: f"must be {canonical_json(bound)}",
        "required": lambda: f"lacks {error.message.partition(' is a required')[0]}",
        "dependentRequired": lambda: f"lacks {error.message.partition(' is a dependency')[0]}",
        "additionalProperties": lambda: "has a member that the form does not have",
        "minProperties": lambda: f"must have at least {bound} members",
        "maxProperties": lambda: f"must have at most {bound} members",
        "minItems": lambda: f"must have at least {bound} items",
        "maxItems": lambda: f"must have at most {bound} items",
        "uniqueItems": lambda: "must not repeat an item",
        "minLength": lambda: f"must have at least {bound} characters",
        "maxLength": lambda: f"must have at most {bound} characters",
        "minimum": lambda: f"must be at least {bound}",
        "maximum": lambda: f"must be at most {bound}",
        "exclusiveMinimum": lambda: f"must be more than {bound}",
        "exclusiveMaximum": lambda: f"must be less than {bound}",
        "multipleOf": lambda: f"must be a multiple of {bound}",
    }
    text = words.get(str(error.validator), lambda: "does not fit the form")()
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 1]}…"


def _type_names(types: Any) -> str:
    names = types if isinstance(types, list) else [types]
    return " or ".join(_TYPES[name] for name in names)


def _pointer(path: Any) -> str:
    return "".join(f"/{_escaped(str(part))}" for part in path)


def _escaped(part: str) -> str:
    """A member's name as RFC 6901 writes it."""
    return part.replace("~", "~0").replace("/", "~1")
