"""Forms are safe by construction: nothing is fetched, nothing takes unbounded time, decimals are exact."""

import time
from typing import Any

import pytest

from sisu_pipeline.domain.forms import MAX_ANSWER_BYTES, MAX_BYTES, Fault, FormInvalid, check_form, faults


def form(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


SAFE = [
    form(),
    form(format={"type": "string"}, **{"$ref": {"type": "string"}, "pattern": {"enum": ["a"]}}),
    {**form(x={"type": "string"}), "dependentRequired": {"format": ["x"]}},
    {**form(), "$defs": {"pattern": {"type": "string"}}},
    form(tags={"type": "array", "items": {"type": "string"}, "uniqueItems": True, "maxItems": 100}),
    form(amount={"anyOf": [{"type": "number", "multipleOf": 0.01}, {"type": "null"}]}),
]
UNSAFE = [
    {"type": "object", "$ref": "http://127.0.0.1:1/x"},
    {**form(), "dependentSchemas": {"default": {"$ref": "http://127.0.0.1:1/x"}}},
    {**form(), "dependentSchemas": {"enum": {"patternProperties": {"^(a+)+$": True}}}},
    form(x={"$ref": "file:///etc/passwd"}),
    form(x={"$dynamicRef": "#x"}),
    form(x={"type": "string", "pattern": "^(a+)+$"}),
    form(x={"type": "string", "format": "regex"}),
    {**form(), "patternProperties": {"^(a+)+$": True}},
    {**form(), "propertyNames": {"pattern": "^(a+)+$"}},
    {**form(), "$id": "http://evil.example/"},
    {**form(), "$defs": {"default": {"$ref": "http://127.0.0.1:1/x"}}},
    form(x={"type": "array", "uniqueItems": True}),
    form(x={"type": "array", "uniqueItems": True, "maxItems": 101}),
    form(x={"items": {"not": {"if": {}}}}),
    {**form(), "$schema": "http://evil.example/schema"},
    {**form(), "minProperties": "one"},
    form(x={"title": "x" * MAX_BYTES}),
    {"type": "array"},
    "a text",
]


@pytest.mark.parametrize("schema", SAFE)
def test_a_form_of_supported_keywords_is_accepted_whatever_its_properties_are_called(schema: Any) -> None:
    check_form(schema)


@pytest.mark.parametrize("schema", UNSAFE)
def test_a_form_with_anything_else_is_refused(schema: Any) -> None:
    with pytest.raises(FormInvalid):
        check_form(schema)


def test_schemas_nest_to_a_bound() -> None:
    schema: dict[str, Any] = {}
    for _ in range(30):
        schema = {"items": schema}
    with pytest.raises(FormInvalid, match="nested too deeply"):
        check_form(form(x=schema))


@pytest.mark.parametrize("amount", [19.99, 0.1, 0.3, 1, 1e15, 123456789.01, -0.07])
def test_an_amount_is_a_multiple_of_a_cent(amount: float) -> None:
    assert faults(form(amount={"type": "number", "multipleOf": 0.01}), {"amount": amount}) == []


def test_an_amount_of_half_a_cent_is_not() -> None:
    found = faults(form(amount={"type": "number", "multipleOf": 0.01}), {"amount": 19.995})
    assert found == [Fault("/amount", "must be a multiple of 0.01")]


def test_a_fault_is_named_by_a_pointer_of_rfc_6901_and_plain_words() -> None:
    schema = {**form(**{"a/b": {"type": "string"}, "c~d": {"enum": [1, 2]}}), "required": ["e"]}
    assert faults(schema, {"a/b": 1, "c~d": 3}) == [
        Fault("", "lacks 'e'"),
        Fault("/a~1b", "must be a text"),
        Fault("/c~0d", "must be one of: 1, 2"),
    ]


def test_a_large_answer_is_refused_before_it_is_checked() -> None:
    assert faults(form(), {"x": "y" * MAX_ANSWER_BYTES})[0].message.startswith("an answer may have at most")


def items(schema: dict[str, Any]) -> dict[str, Any]:
    return form(x={"type": "array", "items": schema})


def alternatives(levels: int) -> dict[str, Any]:
    return {"anyOf": [alternatives(levels - 1)] * 2} if levels else {"type": "string"}


UNIQUE = {"type": "array", "uniqueItems": True, "maxItems": 100}
DISTINCT = [{"a": number} for number in range(100)]
SLOW = {
    "a long list of choices": (items({"enum": list(range(3000))}), [1] * 30_000),
    "choices that are objects": (items({"enum": [{"a": number} for number in range(1200)]}), [{"a": -1}] * 60),
    "required members": (items({"required": [str(number) for number in range(1500)]}), [{"a": 1}] * 6000),
    "dependent members": (items({"dependentRequired": {"a": [str(n) for n in range(1500)]}}), [{"a": 1}] * 6000),
    "a dependent member, repeated": (items({"dependentRequired": {"a": ["b"]}}), [{"a": 1}] * 6000),
    "nested alternatives": (items(alternatives(7)), [1] * 380),
    "alternatives, the last fits": (items({"anyOf": [{"type": "string"}] * 350 + [{}]}), [1] * 270),
    "lists of distinct objects": (items(UNIQUE), [DISTINCT] * 60),
    "the same list, compared often": (form(x={"allOf": [UNIQUE] * 150}), DISTINCT),
    "tiny divisors": (items({"allOf": [{"multipleOf": 5e-324}] * 300}), [1.7e308] * 160),
}


@pytest.mark.parametrize("name", SLOW)
def test_no_answer_takes_more_than_bounded_work(name: str) -> None:
    schema, answer = SLOW[name]
    check_form(schema)
    began = time.process_time()
    assert len(faults(schema, {"x": answer})) <= 20
    assert time.process_time() - began < 3


def test_a_list_of_a_hundred_distinct_items_is_not_too_large() -> None:
    assert faults(form(x={**UNIQUE, "items": {"type": "string"}}), {"x": [str(n) for n in range(100)]}) == []
