"""The tests of access meet the API as a client does."""

from collections.abc import Iterator

import pytest

from resources.database import Database
from tests.integration.api.conftest import Live, api, contents, dependencies_over, serving

__all__ = ["api", "contents"]


@pytest.fixture(scope="package")
def live(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An API of these tests' own: gone when they are done."""
    with serving(dependencies_over(database, tmp_path_factory.mktemp("access"))) as running:
        yield running
