"""Sentences for values that break a contract: the field, the rule and the value, without the validator's own texts.

For example `priority must be at least 1 (got 0)`, `goal must not be empty` and `unknown field 'gaol'; did you mean
'goal'?`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

_LONGEST_POINTER = 200
_LONGEST_MESSAGE = 300
_LONGEST_VALUE = 60
_MOST_SUGGESTIONS = 20
"""Unknown fields that get a suggestion: finding one takes time, and a body may have a thousand."""

_PATTERNS = {
    r"^[0-9a-f]{64}$": "64 lowercase hexadecimal digits",
    r"^[a-z0-9][a-z0-9_-]{0,63}$": "1 to 64 lowercase letters, digits, '-' and '_', the first a letter or digit",
    r"^[a-z0-9][a-z0-9-]{0,63}$": "1 to 64 lowercase letters, digits and '-', the first a letter or digit",
    r"^run_[0-9a-f]{32}$": "the id of a run: 'run_' and 32 lowercase hexadecimal digits",
}
_TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "an array",
    "tuple_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "none_required": "null",
}
# What a value must be; the sentence ends with the value.
_RULES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than_equal": lambda bounds: f"at least {bounds['ge']}",
    "greater_than": lambda bounds: f"greater than {bounds['gt']}",
    "less_than_equal": lambda bounds: f"at most {bounds['le']}",
    "less_than": lambda bounds: f"less than {bounds['lt']}",
    "enum": lambda bounds: f"one of {_listed(bounds['expected'])}",
    "literal_error": lambda bounds: f"one of {_listed(bounds['expected'])}",
    "string_pattern_mismatch": lambda bounds: _PATTERNS.get(bounds["pattern"], f"text like {bounds['pattern']}"),
}
# Sentences that do not need the value.
_PLAIN: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda bounds: "is required",
    "string_too_short": lambda bounds: _at_least(bounds["min_length"], "characters"),
    "string_too_long": lambda bounds: f"must have at most {bounds['max_length']:,} characters",
    "too_short": lambda bounds: _at_least(bounds["min_length"], "items"),
    "too_long": lambda bounds: f"must have at most {bounds['max_length']:,} items",
    "json_invalid": lambda bounds: (
        "is nested too deeply" if "recursion" in str(bounds["error"]) else "contains half of a surrogate pair"
    ),
}


class Fault(NamedTuple):
    """One broken rule: where, as an RFC 6901 pointer of bounded length, and the sentence about it."""

    pointer: str
    message: str


def faults(contract: type[BaseModel], failure: ValidationError) -> list[Fault]:
    """The broken rules of a contract, sorted by pointer."""
    errors = failure.errors(include_url=False)
    unknown = [error for error in errors if error["type"] == "extra_forbidden"]
    suggested = {error["loc"] for error in unknown[:_MOST_SUGGESTIONS]}
    return sorted(
        Fault(
            pointer(error["loc"]),
            _shortened(_sentence(contract, dict(error), error["loc"] in suggested), _LONGEST_MESSAGE),
        )
        for error in errors
    )


def pointer(location: Sequence[int | str]) -> str:
    """A place as an RFC 6901 pointer; bounded, because a key may be as long as the body."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in location)
    return _shortened("".join(f"/{part}" for part in parts), _LONGEST_POINTER)


def closest(name: str, known: Sequence[str]) -> str | None:
    """The known name that is most similar to an unknown one, if any is."""
    by_lower_case = {each.lower(): each for each in known}
    close = get_close_matches(name[:_LONGEST_VALUE].lower(), by_lower_case, n=1)
    return by_lower_case[close[0]] if close else None


def shown(value: object) -> str:
    """A value as an error shows it: ASCII, shortened, an array or an object by its kind alone."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return ascii(_shortened(value, _LONGEST_VALUE))
        case list() | tuple():
            return "an array"
        case Mapping() | BaseModel():
            return "an object"
        case _:
            return _shortened(ascii(value), _LONGEST_VALUE)


def _sentence(contract: type[BaseModel], error: Mapping[str, Any], suggest: bool) -> str:
    location, kind, bounds = error["loc"], error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_field(contract, location, suggest)
    if kind == "value_error":
        return str(bounds["error"])
    name = _path(location) or "the value"
    if kind in _PLAIN:
        return f"{name} {_PLAIN[kind](bounds)}"
    rule = f"must be {_RULES[kind](bounds) if kind in _RULES else _TYPES.get(kind, 'of another type')}"
    return f"{name} {rule}" if _is_secret(contract, location) else f"{name} {rule} (got {shown(error['input'])})"


def _unknown_field(contract: type[BaseModel], location: Sequence[int | str], suggest: bool) -> str:
    *parents, name = location
    within = f" in {_path(parents)}" if parents else ""
    close = closest(str(name), _names(contract, parents)) if suggest else None
    return f"unknown field {shown(name)}{within}" + (f"; did you mean {close!r}?" if close else "")


def _at_least(length: int, unit: str) -> str:
    return "must not be empty" if length == 1 else f"must have at least {length:,} {unit}"


def _path(location: Sequence[int | str]) -> str:
    """A place in a sentence: `patchPlan[0].targetPath`."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{ascii(part)[1:-1]}" for part in location)
    return _shortened(path.removeprefix("."), _LONGEST_POINTER)


def _listed(expected: str) -> str:
    """The alternatives of an enum, as the validator lists them: `'a', 'b' or 'c'`."""
    return ", ".join(re.findall(r"'([^']*)'", expected))


def _names(contract: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    for field in _fields(contract, location):
        contract = next(_models(field.annotation), contract)
    return [field.alias or name for name, field in contract.model_fields.items()]


def _is_secret(contract: type[BaseModel], location: Sequence[int | str]) -> bool:
    """Whether the value lies in a field that its contract hides (`repr=False`)."""
    return any(not field.repr for field in _fields(contract, location))


def _fields(contract: type[BaseModel], location: Sequence[int | str]) -> Iterator[FieldInfo]:
    """The declared fields along a location, from the outermost one."""
    model: type[BaseModel] | None = contract
    for part in location:
        if isinstance(part, int):
            continue
        named = {} if model is None else {field.alias or name: field for name, field in model.model_fields.items()}
        if part not in named:
            return
        yield named[part]
        model = next(_models(named[part].annotation), None)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models an annotation mentions, in lists and unions too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
