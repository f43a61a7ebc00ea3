"""The client of the API with the address and the token of this machine's settings."""

from sisu_pipeline.client import Client
from sisu_pipeline.client.replies import GateEntry as GateEntry
from sisu_pipeline.client.replies import Operated as Operated
from sisu_pipeline.console.exit_codes import Failure

AGENT = "sisu-cli"
"""The user agent of the commands, by which the API records the channel `cli`."""


class Api(Client):
    """The API at a URL, by default the one of the stack on this machine. Raises Failure for an unusable URL."""

    def __init__(self, url: str | None, token: str | None = None) -> None:
        try:
            super().__init__(url or _default_url(), token=token or _token(), user_agent=AGENT)
        except ValueError as error:
            raise Failure(f"--url: {error}", "usage") from None


def _default_url() -> str:
    from sisu_pipeline.settings import settings

    return f"http://127.0.0.1:{settings().port}"


def _token() -> str | None:
    from sisu_pipeline.settings import settings

    own = settings().sisu_token
    return None if own is None else own.get_secret_value()
