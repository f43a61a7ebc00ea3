"""The gate's tests meet the API as a client does."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from resources.database import Database
from sisu_pipeline.contracts.access import Role
from sisu_pipeline.store.access import tokens
from tests.builders import apply_policy
from tests.integration.api.conftest import Api, Live, api, contents, dependencies_over, serving, until

__all__ = ["api", "contents", "until"]

Recipe = Callable[..., None]

As = Callable[..., httpx.Client]


@pytest.fixture(scope="package")
def live(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An API of these tests' own: gone when they are done."""
    with serving(dependencies_over(database, tmp_path_factory.mktemp("gate"))) as running:
        yield running


def a_token(database: Database, owner: str, *roles: Role) -> str:
    """A token of this owner, kept; without roles, a viewer's."""
    text = f"sisu_{owner}"
    with database.connect() as connection:
        tokens.create(connection, text, owner, roles or [Role.VIEWER])
    return text


@pytest.fixture
def client_of(api: Api) -> Iterator[As]:
    """A function that makes a client with a token of this owner and roles."""
    clients: list[httpx.Client] = []

    def make(owner: str, *roles: Role) -> httpx.Client:
        token = a_token(api.dependencies.database, owner, *roles)
        # The certificates that every client would load take longer than most of these tests.
        client = httpx.Client(
            base_url=api.url, headers={"Authorization": f"Bearer {token}"}, timeout=30, verify=False
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def recipe(clean_database: Database) -> Recipe:
    """A function that applies a version of the policy that every seeded recipe has."""

    def set_rules(
        required: int = 1, approvers: list[str] | None = None, self_approval: bool = True, **others: Any
    ) -> None:
        rules = {"approvals": required, "selfApproval": self_approval, **others}
        if approvers is not None:
            rules["approvers"] = {"people": approvers, "groups": []}
        with clean_database.connect() as connection:
            apply_policy(connection, **rules)

    return set_rules
