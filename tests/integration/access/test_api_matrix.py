"""Every operation of the API with every kind of caller: the answer is the one that its rule states."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from starlette.routing import Mount, Route

from sisu_pipeline.api.auth.guarded_route import GuardedRoute
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.access_rules import API_RULES, Audience, Rule
from sisu_pipeline.store.access import tokens
from tests.docs_generators.api_page import api as documented_app
from tests.integration.api.conftest import Api

Contents = Callable[[], dict[str, str]]

UNKNOWN_ID = "run_" + "0" * 32
"""No stream opens for a run that does not exist."""
STRANGERS = {
    "no token": {},
    "wrong token": {"Authorization": "Bearer sisu_wrong"},
    "revoked token": {"Authorization": "Bearer sisu_revoked"},
    "another scheme": {"Authorization": "Basic c2lzdV92aWV3ZXI6"},
    "no session": {"Cookie": "sisu_session_3001=unknown"},
}
NOT_JSON = b"{"
"""Refused by every operation that reads a body, after its rule was checked and before anything is written."""


class Operation(NamedTuple):
    """One method of one route."""

    name: str
    method: str
    path: str


OPERATIONS = [
    Operation(route.operation_id or "", method, route.path)
    for route in documented_app().routes
    if isinstance(route, GuardedRoute)
    for method in sorted(route.methods or ())
]


@pytest.fixture
def tokens_of_all(api: Api) -> None:
    """A token `sisu_<role>` per role and a revoked one."""
    with api.dependencies.database.connect() as connection:
        for role in Role:
            tokens.create(connection, f"sisu_{role}", f"the {role}", [role])
        revoked = tokens.create(connection, "sisu_revoked", "eve", list(Role))
        tokens.revoke(connection, revoked.id)


def status_of(api: Api, operation: Operation, headers: dict[str, str]) -> int:
    """The status of the answer; a stream is closed at once."""
    path = operation.path.replace("{run_id}", UNKNOWN_ID).replace("{intent_id}", "ih_" + "0" * 64)
    path = (
        path.replace("{gate_key}", "APPROVE_PLAN").replace("{name}", "inbox.js").replace("{policy_id}", "default")
    )
    path = path.replace("{uri:artifact_uri}", "artifact%3A%2F%2Frun%2Fnone")
    assert "{" not in path, f"give {operation.path} a value for its parameter"
    body = None if operation.method == "GET" else NOT_JSON
    with api.client.stream(operation.method, path, content=body, headers=headers) as answer:
        return answer.status_code


def test_every_operation_that_is_published_has_a_rule_and_every_rule_an_operation() -> None:
    published = documented_app().openapi()["paths"].values()
    names = {described["operationId"] for methods in published for described in methods.values()}
    assert names <= set(API_RULES)
    assert {operation.name for operation in OPERATIONS} == set(API_RULES)


def test_only_these_operations_need_no_role() -> None:
    by_rule = {rule: {name for name, its in API_RULES.items() if its is rule} for rule in Audience}
    methods = {operation.name: operation.method for operation in OPERATIONS}
    assert {methods[name] for name in by_rule[Audience.SIGNED_IN]} == {"GET"}
    assert {name for name in by_rule[Audience.ANYONE] if methods[name] != "GET"} == {
        "open_session",
        "close_session",
    }
    assert by_rule[Audience.NOBODY] == set()


@pytest.mark.usefixtures("tokens_of_all")
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_an_operation_is_open_to_those_its_rule_names_and_to_no_other_caller(
    api: Api, contents: Contents, operation: Operation
) -> None:
    rule = API_RULES[operation.name]
    before = contents()
    answers = {who: status_of(api, operation, headers) for who, headers in STRANGERS.items()}
    for role in Role:
        answers[role] = status_of(api, operation, {"Authorization": f"Bearer sisu_{role}"})
    assert {who: _kind(status) for who, status in answers.items()} == _expected(rule)
    assert contents() == before


def _kind(status: int) -> str:
    return {401: "unauthorized", 403: "forbidden"}.get(status, "served")


def _expected(rule: Rule) -> dict[str, str]:
    if rule is Audience.ANYONE:
        return dict.fromkeys([*STRANGERS, *Role], "served")
    admitted = {str(role): "served" if rule in (role, Audience.SIGNED_IN) else "forbidden" for role in Role}
    return {**dict.fromkeys(STRANGERS, "unauthorized"), **admitted}


@pytest.mark.usefixtures("tokens_of_all")
def test_paths_outside_the_operations_need_a_token(api: Api) -> None:
    others = [
        route.path
        for route in documented_app().routes
        if isinstance(route, Route | Mount) and not isinstance(route, GuardedRoute)
    ]
    assert {"/openapi.json", "/docs", "/docs/assets"} <= set(others)
    for path in [*others, "/docs/assets/swagger-ui.css", "/nowhere", "/healthz/", "/session/cookie/x"]:
        for who, headers in STRANGERS.items():
            assert api.client.get(path, headers=headers).status_code == 401, (path, who)
        assert api.client.get(path, headers={"Authorization": "Bearer sisu_viewer"}).status_code != 401


@pytest.mark.usefixtures("tokens_of_all")
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_no_other_method_of_a_path_does_anything(api: Api, contents: Contents, method: str) -> None:
    before = contents()
    for operation in OPERATIONS:
        answers = {status_of(api, operation._replace(method=method), headers) for headers in STRANGERS.values()}
        assert answers <= {400, 401, 405}, operation
    assert contents() == before
