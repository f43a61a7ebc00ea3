"""A JSON Schema in a few words, for a table cell."""

import json
from typing import Any

from sisu_pipeline.domain.canonical import MAX_SAFE_INTEGER
from tests.docs_generators.markdown import code

Schema = dict[str, Any]

_FORMATS = {"date-time": "timestamp", "path": "path", "password": "string, secret"}
# (inclusive lower, inclusive upper, exclusive lower, exclusive upper) of a number, of a length, of a count.
_RANGES = {
    "number": ("minimum", "maximum", ""),
    "integer": ("minimum", "maximum", ""),
    "string": ("minLength", "maxLength", " characters"),
    "array": ("minItems", "maxItems", " items"),
}


def phrase(schema: Schema) -> str:
    """The values a schema accepts; a reference is a link to the heading of its name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return code(json.dumps(schema["const"]))
    if "enum" in schema:
        return ", ".join(code(str(value)) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(phrase(option) for option in schema["anyOf"])
    kind = schema.get("type", "any JSON")
    if isinstance(kind, list):
        return " or ".join(kind)
    return _noun(kind, schema) + _range(kind, schema) + _pattern(schema)


def default(schema: Schema) -> str:
    """The value of an absent member; empty without one, and for null, which equals absence."""
    value = schema.get("default")
    return "" if value is None else code(value if isinstance(value, str) and value else json.dumps(value))


def _noun(kind: str, schema: Schema) -> str:
    if kind == "array" and "items" in schema:
        return f"array of {phrase(schema['items'])}"
    return _FORMATS.get(schema.get("format", ""), kind)


def _range(kind: str, schema: Schema) -> str:
    lower, upper, unit = _RANGES.get(kind, ("", "", ""))
    least, most = schema.get(lower), schema.get(upper)
    least, most = (None if value in (-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) else value for value in (least, most))
    if (least, most, kind) == (1, None, "string"):
        return " (not empty)"
    if least is not None and most is not None:
        return f" ({least:,} to {most:,}{unit})"
    bounds = [f"at least {least:,}{unit}"] if least is not None else []
    bounds += [f"greater than {schema['exclusiveMinimum']:g}"] if "exclusiveMinimum" in schema else []
    bounds += [f"at most {most:,}{unit}"] if most is not None else []
    return f" ({', '.join(bounds)})" if bounds else ""


def _pattern(schema: Schema) -> str:
    return f" matching {code(schema['pattern'])}" if "pattern" in schema else ""
