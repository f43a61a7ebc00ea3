"""The API process: `python -m sisu_pipeline.api.server`."""

import socket
import sys

import uvicorn
from fastapi import FastAPI

from resources.database import DatabaseError
from resources.planner.port import PlannerUnavailable
from sisu_pipeline.api.app import create_app
from sisu_pipeline.api.guard import is_loopback
from sisu_pipeline.api.rooms import Rooms
from sisu_pipeline.services import services
from sisu_pipeline.settings import SettingsError, settings

# Streams end by themselves when the server stops; whatever else has not ended by then is cut off.
_GRACE_S = 2


class Server(uvicorn.Server):
    """uvicorn, told to end the event streams before it waits for open connections."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                ws="none",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._rooms: Rooms = app.state.rooms

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: no new streams, no open ones, then uvicorn's own graceful stop."""
        self._rooms.feed.close()
        await super().shutdown(sockets)


def check_host(host: str) -> None:
    """Raises SettingsError unless the host is this machine alone: nobody is asked for a token yet."""
    if not is_loopback(host):
        raise SettingsError(
            f"SISU_HOST={host} would let others in, and the API knows no tokens yet: use 127.0.0.1 or ::1."
        )


def main() -> None:
    """Serve until SIGTERM or SIGINT; exits 2 when the settings or the database's place do not allow it."""
    try:
        configuration = settings()
        check_host(configuration.sisu_host)
        app = create_app(services(), settings=configuration)
    except (SettingsError, DatabaseError, PlannerUnavailable) as failure:
        sys.exit(_refuse(str(failure)))
    Server(app, configuration.sisu_host, configuration.port).run()


def _refuse(message: str) -> int:
    sys.stderr.write(f"sisu api: {message}\n")
    return 2


if __name__ == "__main__":
    main()
