"""Forms of ask gates: JSON Schema 2020-12, checked before it is asked, and the answers checked against it.

A form comes from an intent or an agent, so it may say what an answer looks like and nothing else: no
references (they could be fetched), no regular expressions (they could be made to run for ever).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from sisu_pipeline.domain.canonical import canonical_json

MAX_BYTES = 16 * 1024
_MOST_FAULTS = 20
_FORBIDDEN = frozenset({"$ref", "$dynamicRef", "$recursiveRef", "pattern", "patternProperties", "format"})


class FormInvalid(Exception):
    """The form cannot be asked; the message says why."""


class Fault(NamedTuple):
    """Where an answer does not fit its form: a JSON pointer into the answer, and why."""

    pointer: str
    message: str


def check_form(schema: Any) -> None:
    """Raises FormInvalid unless this is a schema of an object that we can show and check safely."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise FormInvalid("a form is the JSON Schema of an object")
    if len(canonical_json(schema).encode()) > MAX_BYTES:
        raise FormInvalid(f"a form has at most {MAX_BYTES} bytes")
    forbidden = sorted(set(_keywords(schema)) & _FORBIDDEN)
    if forbidden:
        raise FormInvalid(f"a form uses no {', '.join(forbidden)}")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise FormInvalid(f"not a JSON Schema: {error.message[:200]}") from None


def faults(schema: dict[str, Any], answer: Any) -> list[Fault]:
    """Where the answer does not fit, sorted, at most 20; [] when it fits."""
    found = {
        Fault("".join(f"/{part}" for part in error.absolute_path), error.message[:200])
        for error in Draft202012Validator(schema).iter_errors(answer)
    }
    return sorted(found)[:_MOST_FAULTS]


def _keywords(value: Any) -> Iterator[str]:
    """Every name that could be a keyword; a property may be called anything."""
    if isinstance(value, list):
        for item in value:
            yield from _keywords(item)
    elif isinstance(value, dict):
        for name, child in value.items():
            yield name
            if name == "properties" and isinstance(child, dict):
                for schema in child.values():
                    yield from _keywords(schema)
            elif name not in ("enum", "const", "default", "examples"):
                yield from _keywords(child)
