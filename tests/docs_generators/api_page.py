"""`docs/api.md`, from the OpenAPI document of the API and the roles of its routes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi import FastAPI

from sisu_pipeline.api.app import create_app
from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.access_rules import Audience, Rule
from sisu_pipeline.settings import load_settings
from sisu_pipeline.workflow.dependencies import open_dependencies
from tests.docs_generators.json_schema import Schema, default, phrase
from tests.docs_generators.markdown import GeneratedPage, anchor, code, table

_INTRODUCTION = """\
# API reference

The HTTP API of `sisu start`, on `PORT` (3001). The same document as OpenAPI is at `/openapi.json`, with a
console at `/docs`. This page is generated from it: `python -m tests.docs_generators`.

Request bodies are JSON of at most 8 MiB; 128 KiB for an answer, a rejection and an operation, 4 KiB for a token. A
body that breaks its contract is refused with 400 before anything is written; unknown members break it. Without
tokens the API serves this machine only; with tokens every request carries `Authorization: Bearer TOKEN`, and *role*
is what the token needs ([human-gate.md](human-gate.md#tokens)). A route without a role accepts every token;
`no token` marks those that require none. Where a path takes `{run_id}`, a run id or an intent id fits.
"""

_ERRORS = """\
## Errors

Every error has one of these codes; a request whose headers exceed 64 KiB gets a 431. The body of a 4xx or 503 is a
[Problem](#problem): `code` is stable, `error` is for people, and `details` point into the request.

"""

_SCHEMAS = """\
## Schemas

Objects of requests and responses. No object has members beyond these, unless its entry shows otherwise.

"""

_TITLES = {
    "intents": "Intents",
    "runs": "Runs",
    "gates": "Gates",
    "results": "Results",
    "artifacts": "Artifacts",
    "session": "Sessions",
    "rules": "Recipes and policies",
    "ops": "Operations of the deployment",
}


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    described: dict[str, Any]
    role: str

    @property
    def title(self) -> str:
        """What its section is called."""
        return f"{self.method.upper()} {self.path}"

    @property
    def tag(self) -> str:
        """The group it belongs to."""
        tag: str = self.described["tags"][0]
        return tag

    @property
    def description(self) -> str:
        """Its paragraphs, a line each."""
        text: str = self.described["description"]
        return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))

    @property
    def responses(self) -> dict[str, dict[str, Any]]:
        """By status code."""
        responses: dict[str, dict[str, Any]] = self.described["responses"]
        return dict(sorted(responses.items()))


def page() -> str:
    """The whole page."""
    document = api().openapi()
    operations = list(_operations(document))
    groups = (_group(tag, operations) for tag in _TITLES)
    errors, schemas = _ERRORS + _errors(operations), _SCHEMAS + _schemas(document)
    return "\n".join([_INTRODUCTION, _overview(operations), *groups, errors, schemas])


@cache
def api() -> FastAPI:
    # Nothing connects to this database: an application connects when it starts.
    settings = load_settings({"DATABASE_URL": "postgresql://localhost/unused"})
    return create_app(open_dependencies(settings), settings=settings)


def _operations(document: dict[str, Any]) -> Iterator[Operation]:
    rules = {route.operation_id: route.rule for route in api().routes if isinstance(route, GuardedRoute)}
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            yield Operation(method, path, described, _role(rules[described["operationId"]]))


def _role(rule: Rule) -> str:
    if isinstance(rule, Role):
        return str(rule)
    return "no token" if rule is Audience.ANYONE else ""


def _overview(operations: Iterable[Operation]) -> str:
    by_tag = sorted(operations, key=lambda each: list(_TITLES).index(each.tag))
    rows = [(_link(each), each.role, each.description.partition("\n")[0]) for each in by_tag]
    return table(("endpoint", "role", "what it does"), rows)


def _link(operation: Operation) -> str:
    return f"[{code(operation.title)}](#{anchor(operation.title)})"


def _group(tag: str, operations: Iterable[Operation]) -> str:
    sections = (_section(each) for each in operations if each.tag == tag)
    return f"## {_TITLES[tag]}\n\n" + "\n".join(sections)


def _section(operation: Operation) -> str:
    parts = [f"### {operation.title}\n", operation.description + "\n"]
    if operation.role:
        parts.append(f"Role: {code(operation.role)}.\n")
    parts += _parameters(operation) + _body(operation) + _responses(operation)
    return "\n".join(parts)


def _parameters(operation: Operation) -> list[str]:
    given = operation.described.get("parameters", [])
    rows = [
        (
            code(each["name"]),
            each["in"],
            phrase(each["schema"]),
            default(each["schema"]),
            each.get("description", ""),
        )
        for each in given
    ]
    return [table(("parameter", "in", "value", "default", "meaning"), rows)] if rows else []


def _body(operation: Operation) -> list[str]:
    body = operation.described.get("requestBody")
    if body is None:
        return []
    name = _reference(body["content"]["application/json"]["schema"])
    schema = api().openapi()["components"]["schemas"][name]
    optional = "" if body["required"] else ", optional"
    return [f"Body: [{name}](#{name.lower()}){optional}.\n", _members(schema)]


def _responses(operation: Operation) -> list[str]:
    regular = {status: each for status, each in operation.responses.items() if not _is_problem(each)}
    rows = [
        (status, _content(each), "" if each["description"] == "Successful Response" else each["description"])
        for status, each in regular.items()
    ]
    errors = ", ".join(status for status in operation.responses if status not in regular)
    return [table(("response", "body", "meaning"), rows), f"Errors: {errors}.\n"]


def _content(response: dict[str, Any]) -> str:
    return ", ".join(
        _event(media["schema"])
        if kind == "text/event-stream"
        else phrase(media["schema"])
        if "$ref" in media.get("schema", {})
        else code(kind)
        for kind, media in response.get("content", {}).items()
    )


def _event(schema: Schema) -> str:
    if "oneOf" in schema:
        return "; ".join(map(_event, schema["oneOf"]))
    members = schema["properties"]
    data = phrase(members["data"]["contentSchema"])
    return f"server-sent events {code(members['event']['const'])} of {data}"


def _errors(operations: Iterable[Operation]) -> str:
    meanings: dict[str, tuple[str, str]] = {}
    for operation in operations:
        for status, response in operation.responses.items():
            if _is_problem(response):
                meaning = (_content(response), response["description"])
                assert meanings.setdefault(status, meaning) == meaning, f"{operation.title}: {status} differs"
    return table(("code", "body", "meaning"), [(status, *meaning) for status, meaning in sorted(meanings.items())])


def _is_problem(response: dict[str, Any]) -> bool:
    media = response.get("content", {}).get("application/json", {})
    return _reference(media.get("schema", {})) in ("Problem", "InternalError")


def _reference(schema: Schema) -> str:
    name: str = schema.get("$ref", "").rpartition("/")[2]
    return name


def _schemas(document: dict[str, Any]) -> str:
    schemas = sorted(document["components"]["schemas"].items())
    return "\n".join(f"### {name}\n\n{_schema(schema)}" for name, schema in schemas)


def _schema(schema: Schema) -> str:
    description = " ".join(schema.get("description", "").split())
    paragraph = f"{description}\n" if description else ""
    if "properties" in schema:
        return f"{paragraph}\n{_members(schema)}"
    return f"{paragraph}\nValues: {phrase(schema)}.\n"


def _members(schema: Schema) -> str:
    required = schema.get("required", [])
    rows = [
        (
            code(name),
            phrase(member),
            "yes" if name in required else "",
            default(member),
            member.get("description", ""),
        )
        for name, member in schema["properties"].items()
    ]
    head = ("member", "value", "required", "default", "meaning")
    # Columns that no member fills are left out.
    columns = [column for column in range(len(head)) if column < 2 or any(row[column] for row in rows)]
    return table([head[column] for column in columns], ([row[column] for column in columns] for row in rows))


PAGE = GeneratedPage("api.md", page)
