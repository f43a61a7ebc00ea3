"""The API process: `python -m sisu_pipeline.api.server`."""

import gc
import socket
import sys

import psycopg
import uvicorn
from fastapi import FastAPI

from resources.database import Database
from resources.migrations import exit_if_newer
from sisu_pipeline.api.app import create_app
from sisu_pipeline.api.auth.host_guard import is_loopback
from sisu_pipeline.api.http.connection_limits import BoundedHttpProtocol
from sisu_pipeline.api.state.app_state import AppState
from sisu_pipeline.domain.operator_errors import OperatorError
from sisu_pipeline.domain.setting_errors import SettingsError
from sisu_pipeline.settings import Settings, settings
from sisu_pipeline.store.access import tokens
from sisu_pipeline.workflow.dependencies import dependencies

# Streams end by themselves when the server stops; other requests that have not ended by then are aborted.
_GRACE_S = 2


class Server(uvicorn.Server):
    """uvicorn that ends the event streams before it waits for open connections."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                ws="none",
                http=BoundedHttpProtocol,
                access_log=False,
                server_header=False,
                # The client's address and scheme are not used: `Origin` and `Host` suffice.
                proxy_headers=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._state: AppState = app.state.shared

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: no new streams, no open ones, then uvicorn's own graceful stop."""
        self._state.feed.close()
        await super().shutdown(sockets)


def check_host(host: str, *, has_tokens: bool = False) -> None:
    """Raises SettingsError when the API would listen for other machines without requiring tokens."""
    if not (has_tokens or is_loopback(host)):
        raise SettingsError(
            f"SISU_HOST must be a loopback address while no token exists (got {host!r}). "
            "Create a token with `sisu token create`, or use 127.0.0.1 or ::1."
        )


def _check_access(configuration: Settings, database: Database) -> None:
    if not is_loopback(configuration.sisu_host):
        with database.connect() as connection:
            has_tokens = configuration.has_single_sign_on or tokens.are_required(connection)
            check_host(configuration.sisu_host, has_tokens=has_tokens)


def main() -> None:
    """Serve until SIGTERM or SIGINT; exits with 2 when the settings or the database do not permit it."""
    try:
        configuration = settings()
        exit_if_newer(dependencies().database, "api")
        _check_access(configuration, dependencies().database)
        app = create_app(dependencies(), settings=configuration)
    except (OperatorError, psycopg.OperationalError) as failure:
        sys.exit(_refuse(str(failure)))
    # Loaded modules never become garbage: the collector must not scan them during a request.
    gc.collect()
    gc.freeze()
    Server(app, configuration.sisu_host, configuration.port).run()


def _refuse(message: str) -> int:
    sys.stderr.write(f"sisu api: {message}\n")
    return 2


if __name__ == "__main__":
    main()
