"""`python -m sisu_pipeline.supervisor.code_server`: serve the code location to Dagster."""

import runpy
import sys

from resources import clock_watch
from resources.migrations import exit_if_newer
from sisu_pipeline.database_server import locate
from sisu_pipeline.settings import settings


def main() -> None:
    """Run Dagster's code server, unless a newer release has migrated the database.

    The process ends when its clock is set back.
    """
    configuration = settings()
    exit_if_newer(locate(configuration), "code server")
    clock_watch.end_when_set_back("code server")
    sys.argv = [
        *("dagster", "api", "grpc", "-m", "sisu_pipeline.definitions"),
        *("--socket", str(configuration.code_socket), "--location-name", "sisu_pipeline"),
        # Every sensor occupies a thread of the server while it listens; the UI's calls need others.
        *("--max-workers", "32"),
    ]
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
