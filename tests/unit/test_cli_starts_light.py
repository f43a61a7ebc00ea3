"""The command line is up before it imports what only some of its commands need (half a second otherwise)."""

import subprocess
import sys

from sisu_pipeline.settings import PROJECT_ROOT

_HEAVY = ("dagster", "dbos", "fastapi", "httpx", "psycopg", "pydantic", "sqlalchemy")


def test_the_tree_of_commands_imports_nothing_heavy() -> None:
    program = f"import sys, sisu_pipeline.cli.command_tree; print(*sorted(set({_HEAVY}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
