"""`python -m sisu_pipeline.dagster_web`: serve Dagster's pages on ADMIN_PORT."""

import sys

import psycopg
import uvicorn

from resources import clock_watch
from resources.database import Database, DatabaseError
from resources.migrations import exit_if_newer
from sisu_pipeline.api.auth.host_guard import host_name
from sisu_pipeline.api.http.connection_limits import BoundedHttpProtocol
from sisu_pipeline.dagster_web.guard import Guard, authorize, subscription_refusal
from sisu_pipeline.dagster_web.sign_in import Authenticator
from sisu_pipeline.domain.setting_errors import SettingsError
from sisu_pipeline.engine.webserver import GuardedWebserver, workspace_context
from sisu_pipeline.settings import PROJECT_ROOT, Settings, settings
from sisu_pipeline.single_sign_on.browser_flow import browser_flow
from sisu_pipeline.single_sign_on.sign_on import sign_on
from sisu_pipeline.store.access.people import ProxiedPeople
from sisu_pipeline.store.access.sessions import cookie_name
from sisu_pipeline.workflow.dependencies import dependencies


def main() -> None:
    """Serve until SIGTERM or SIGINT; exits 2 when the settings or the database do not allow it."""
    try:
        configuration = settings()
        exit_if_newer(dependencies().database, "webserver")
        authenticator = _authenticator(configuration, dependencies().database)
    except (SettingsError, DatabaseError, psycopg.OperationalError) as failure:
        sys.stderr.write(f"sisu webserver: {failure}\n")
        sys.exit(2)
    clock_watch.end_when_set_back("webserver")
    with workspace_context(PROJECT_ROOT / "workspace.yaml") as context:
        server = GuardedWebserver(context, authorize, subscription_refusal)
        app = Guard(server.create_asgi_app(), authenticator, public_names(configuration))
        uvicorn.run(
            app,
            host="127.0.0.1",
            port=configuration.admin_port,
            http=BoundedHttpProtocol,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
        )


def _authenticator(configuration: Settings, database: Database) -> Authenticator:
    signs_on = sign_on(configuration)
    flow = browser_flow(signs_on, configuration.dagster_url, configuration.port)
    return Authenticator(database, cookie_name(configuration.port), signs_on, flow, ProxiedPeople(database.connect))


def public_names(configuration: Settings) -> frozenset[str]:
    """The host names beside loopback ones under which people reach Dagster's pages."""
    url = configuration.sisu_dagster_url
    return frozenset() if url is None else frozenset({host_name(url.partition("://")[2].partition("/")[0])})


if __name__ == "__main__":
    main()
