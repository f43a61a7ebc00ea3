"""Sentences for an environment that cannot be used: the variable, what it must be, and its value unless secret.

For example `PORT must be an integer between 1 and 65535 (got 'abc')`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from sisu_pipeline.contracts.field_errors import closest, shown
from sisu_pipeline.domain.operator_errors import OperatorError


class SettingsError(OperatorError):
    """The environment is not usable; the message names each variable and what it may be."""

    code = "settings"


def unknown_names(names: Sequence[str], settings: type[BaseModel]) -> SettingsError:
    """The error for variables that have a prefix of this project and are not settings."""
    known = [name.upper() for name in settings.model_fields]
    suggested = ((name, closest(name, known)) for name in names)
    listed = ", ".join(name if close is None else f"{name} (did you mean {close}?)" for name, close in suggested)
    return SettingsError(f"unknown settings: {listed}. See `sisu doctor --settings` for the names.")


def malformed(settings: type[BaseModel], failure: ValidationError) -> SettingsError:
    """The error for variables with malformed values, sorted by name."""
    properties: Mapping[str, Any] = settings.model_json_schema()["properties"]
    sentences = []
    for error in failure.errors(include_url=False):
        name = str(error["loc"][0]) if error["loc"] else ""
        if error["type"] == "value_error":
            sentences.append(f"{name.upper()} {error['ctx']['error']}".strip())
        else:
            schema = _not_null(properties[name])
            value = "" if schema.get("writeOnly") else f" (got {shown(error['input'])})"
            sentences.append(f"{name.upper()} must be {_expected(schema)}{value}")
    return SettingsError("; ".join(sorted(sentences)))


def _not_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a value that is present."""
    options: list[Mapping[str, Any]] = schema.get("anyOf", [schema])
    return next(option for option in options if option.get("type") != "null")


def _expected(schema: Mapping[str, Any]) -> str:
    """What a variable must be, from the JSON Schema of its field."""
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    match schema.get("type"):
        case "integer":
            return f"an integer {_bounds(schema)}".rstrip()
        case "number":
            return f"a number {_bounds(schema)}".rstrip()
        case "boolean":
            return "true or false"
    if "pattern" in schema:
        return "a URL that begins with http:// or https://"
    return (
        f"a text of 1 to {schema['maxLength']} characters" if "maxLength" in schema else "a text that is not empty"
    )


def _bounds(schema: Mapping[str, Any]) -> str:
    least, above, most = (schema.get(key) for key in ("minimum", "exclusiveMinimum", "maximum"))
    if least is not None and most is not None:
        return f"between {least} and {most}"
    lower = f"greater than {above}" if above is not None else f"of at least {least}" if least is not None else ""
    upper = f"at most {most}" if most is not None else ""
    return " and ".join(filter(None, (lower, upper)))
