"""The OpenAPI document describes every operation, parameter, body, response, schema and property."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docs_generators.api_page import api

_FRAMEWORK_TEXTS = ("Successful Response", "Validation Error")


def test_everything_has_a_description() -> None:
    assert sorted(undescribed(api().openapi())) == []


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("paths", "/runs", "get"), "get /runs"),
        (("paths", "/runs", "get", "parameters", 0), "get /runs: parameter status"),
        (("paths", "/intents", "post", "requestBody"), "post /intents: body"),
        (("paths", "/runs", "get", "responses", "200"), "get /runs: response 200"),
        (("components", "schemas", "Intent"), "schema Intent"),
        (("components", "schemas", "Intent", "properties", "goal"), "schema Intent: goal"),
    ],
)
@pytest.mark.parametrize("text", [None, "", " ", "Successful Response"])
def test_a_missing_description_is_found(path: tuple[Any, ...], place: str, text: str | None) -> None:
    document = copy.deepcopy(api().openapi())
    node: Any = document
    for part in path:
        node = node[part]
    node["description"] = text
    assert set(undescribed(document)) == {place}


def test_no_schema_refers_to_itself() -> None:
    """Generators of clients drop an operation with such a schema, or write code that does not compile."""
    schemas = api().openapi()["components"]["schemas"]
    direct = {name: set(references(schema)) for name, schema in schemas.items()}
    reached = {name: set(names) for name, names in direct.items()}
    for _ in schemas:
        reached = {
            name: names.union(*(direct[each] for each in names)) if names else names
            for name, names in reached.items()
        }
    assert [name for name, names in reached.items() if name in names] == []
    assert "Json" in reached["Intent"]


def references(schema: Any) -> Iterator[str]:
    """The names of the components that a schema refers to."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rpartition("/")[2]
        for member in schema.values():
            yield from references(member)
    elif isinstance(schema, list):
        for item in schema:
            yield from references(item)


def undescribed(document: dict[str, Any]) -> Iterator[str]:
    """Every place of the document that lacks a description of its own."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method} {path}"
            parts = {name: operation}
            parts |= {f"{name}: parameter {each['name']}": each for each in operation.get("parameters", [])}
            parts |= {f"{name}: response {status}": each for status, each in operation["responses"].items()}
            if "requestBody" in operation:
                parts[f"{name}: body"] = operation["requestBody"]
            yield from _without(parts)
    for name, schema in document["components"]["schemas"].items():
        members = schema.get("properties", {})
        yield from _without(
            {f"schema {name}": schema} | {f"schema {name}: {key}": member for key, member in members.items()}
        )


def _without(parts: dict[str, dict[str, Any]]) -> Iterator[str]:
    for place, part in parts.items():
        text = (part.get("description") or "").strip()
        if not text or text in _FRAMEWORK_TEXTS:
            yield place
