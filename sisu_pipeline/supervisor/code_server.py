"""`python -m sisu_pipeline.supervisor.code_server`: serve the code location to Dagster."""

import os
import sys

from resources.migrations import exit_if_newer
from sisu_pipeline.database_server import locate
from sisu_pipeline.settings import settings


def main() -> None:
    """Become Dagster's code server, unless a newer release has migrated the database."""
    configuration = settings()
    exit_if_newer(locate(configuration), "code server")
    command = [
        *(sys.executable, "-m", "dagster", "api", "grpc", "-m", "sisu_pipeline.definitions"),
        *("--socket", str(configuration.code_socket), "--location-name", "sisu_pipeline"),
        # Every sensor occupies a thread of the server while it listens; the UI's calls need others.
        *("--max-workers", "32"),
    ]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
