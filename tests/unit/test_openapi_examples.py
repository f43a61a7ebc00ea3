"""Each operation of the OpenAPI document has examples that fit their schemas."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sisu_pipeline.api.http import openapi_examples
from tests.docs_generators.api_page import api

DOCUMENT = api().openapi()
BODIES = ("application/json", "text/event-stream")


def contents() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The name of each body of the document, its media type, and its content."""
    for operations in DOCUMENT["paths"].values():
        for operation in operations.values():
            places = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for place, body in places.items():
                for media_type, content in body.get("content", {}).items():
                    yield f"{operation['operationId']} {place}", media_type, content


def faults(schema: dict[str, Any], value: Any) -> list[str]:
    validator = Draft202012Validator({**schema, "components": DOCUMENT["components"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def test_each_body_has_an_example() -> None:
    assert [name for name, _, content in contents() if "example" not in content] == []


def test_each_example_fits_its_schema() -> None:
    found = [(name, content) for name, media_type, content in contents() if media_type == "application/json"]
    assert len(found) > 300
    assert {
        name: wrong for name, content in found if (wrong := faults(content.get("schema", {}), content["example"]))
    } == {}


def test_the_data_of_each_stream_fits_its_event() -> None:
    streams = [(name, content) for name, media_type, content in contents() if media_type == "text/event-stream"]
    assert len(streams) == 4
    for name, content in streams:
        event = content["schema"].get("oneOf", [content["schema"]])[0]["properties"]
        first, second, *_ = content["example"].splitlines()
        assert first == f"event: {event['event']['const']}", name
        assert faults(event["data"]["contentSchema"], json.loads(second.removeprefix("data: "))) == []


@pytest.mark.parametrize("spoiled", [{"goal": 1}, {"goal": "x", "inputs": {}, "constraints": {}, "other": 1}])
def test_an_example_that_does_not_fit_is_found(spoiled: dict[str, Any]) -> None:
    assert faults({"$ref": "#/components/schemas/Intent"}, spoiled)


def test_no_example_is_of_an_operation_that_does_not_exist() -> None:
    bodies = {name.partition(" ")[0] for name, _, _ in contents() if name.endswith(" request")}
    assert set(openapi_examples.REQUESTS) == bodies


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "array", "items": {"type": "boolean"}}, [False]),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"type": "object", "required": ["a"], "properties": {"a": {"const": 7}, "b": {}}}, {"a": 7}),
        ({"enum": ["x", "y"]}, "x"),
        ({"default": [1]}, [1]),
    ],
)
def test_an_example_follows_from_the_schema(schema: dict[str, Any], example: Any) -> None:
    assert openapi_examples.example_of(schema, {}) == example
