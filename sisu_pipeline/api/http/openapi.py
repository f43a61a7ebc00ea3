"""The published OpenAPI document: FastAPI's description of the routes, with the contracts of bodies and queries."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from sisu_pipeline.api.http.openapi_examples import add_examples
from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.domain.canonical import MAX_SAFE_INTEGER

# The contracts that the routes pass to `request_body` and `event_schema` when they are created.
_requests: set[type[Contract]] = set()
_events: set[type[Contract]] = set()
_REFERENCE = "#/components/schemas/{model}"
_ANY_JSON = {"$ref": _REFERENCE.format(model="Json")}
# Without a type: generators of clients drop an operation whose schema refers to itself.
_JSON: dict[str, Any] = {
    "description": "Any JSON that means the same to every reader: no NUL in strings, and whole numbers within "
    "±(2^53-1) unless they are written with an exponent.",
}
# FastAPI documents its own validation errors on every route with parameters; ours are 400s.
_NOT_OURS = ("HTTPValidationError", "ValidationError")


class DocumentedApp(FastAPI):
    """FastAPI with this OpenAPI."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = document(self)
        return self.openapi_schema


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an app's routes."""
    published = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = published["components"]["schemas"]
    for operations in published["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            _describe_responses(operation["responses"], schemas)
    for name in _NOT_OURS:
        schemas.pop(name, None)
    schemas.update(_definitions(_events, "serialization"))
    schemas.update(request_schemas())
    add_examples(published)
    return published


def request_schemas() -> dict[str, Any]:
    """The components of every request contract, with the limits that hold for all JSON we read."""
    schemas = _definitions(_requests, "validation")
    for schema in list(_nodes(schemas)):
        if schema.get("type") == "integer":
            schema.setdefault("minimum", -MAX_SAFE_INTEGER)
            schema.setdefault("maximum", MAX_SAFE_INTEGER)
        if schema.get("additionalProperties") is True:
            schema["additionalProperties"] = _ANY_JSON
    return {**schemas, "Json": _JSON}


def event_schema(contract: type[Contract], name: str) -> dict[str, Any]:
    """One server-sent event whose data is the contract's JSON."""
    _events.add(contract)
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": _REFERENCE.format(model=contract.__name__)},
    }
    return {"type": "object", "required": ["event", "data"], "properties": {"event": {"const": name}, "data": data}}


def request_body(contract: type[Contract], *, required: bool = False) -> dict[str, Any]:
    """A route's `openapi_extra` for a body that `request_body.parse` reads."""
    _requests.add(contract)
    schema = {"$ref": _REFERENCE.format(model=contract.__name__)}
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"description": contract.__doc__, "required": required, "content": content}}


def query_parameters(contract: type[Contract]) -> dict[str, Any]:
    """A route's `openapi_extra` for a query that `query_parameters.parse` reads."""
    schema = contract.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    parameters = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": member["description"],
            "schema": _plain(member, definitions),
        }
        for name, member in schema["properties"].items()
    ]
    return {"parameters": parameters}


def _describe_responses(responses: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Replace FastAPI's description of a success by that of the schema of its body."""
    for response in responses.values():
        if response["description"] == "Successful Response":
            schema = response["content"]["application/json"]["schema"]
            response["description"] = schemas[schema["$ref"].rpartition("/")[2]]["description"]


def _definitions(contracts: set[type[Contract]], mode: JsonSchemaMode) -> dict[str, Any]:
    _, definitions = models_json_schema(
        [(contract, mode) for contract in sorted(contracts, key=lambda each: each.__name__)],
        by_alias=True,
        ref_template=_REFERENCE,
    )
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _plain(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema: never null (absence is the null of a query), definitions in place."""
    for option in schema.get("anyOf", [schema]):
        if option.get("type") != "null":
            name = option.get("$ref", "").rpartition("/")[2]
            return {**definitions.get(name, option)} | {k: schema[k] for k in ("default",) if schema.get(k)}
    raise AssertionError("a parameter has a type")


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _nodes(child)
