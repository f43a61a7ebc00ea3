"""The tests of access meet the API as a client does."""

from tests.integration.api.conftest import api, contents, live

__all__ = ["api", "contents", "live"]
