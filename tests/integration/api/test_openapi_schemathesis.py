"""The published OpenAPI tells the truth: schemathesis makes requests from it and holds every answer to it."""

import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.types.json import Jsonb

from resources.database import Connection
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store import runs
from tests.builders import a_run, an_intent
from tests.integration.api.conftest import Api

# What a schema cannot say: policy (recipe caps, partition key, gate deadlines) refuses requests that are within the
# contract, a changed plan needs the hash of the one it was made of, and not every text is a person's name.
_CONFIGURATION = """
[generation]
allow-x00 = false
codec = "utf-8"
max-examples = 10
deterministic = true

# Too many of the longest items are also a body that is too large.
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 411, 413]

[[operations]]
include-path-regex = "^/intents$|^/(policies|recipes)$|^/runs/[^/]+/(cancel|retry|reject-plan|gates/.*)$"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "^/runs/[^/]+/assign$|^/(gates|gates/decide|delegations|ops/version-adoptions)$"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "^/history(/export)?$"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "^/runs/[^/]+/request-changes$"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "^/intents/[^/]+/run$|^/runs/[^/]+/approve-plan$"
checks.positive_data_acceptance.enabled = false

# Addresses of examples and answers have slashes, which it cannot put into a path.
[[operations]]
include-path = "/artifacts/{{uri}}"
phases.fuzzing.extra-data-sources.responses = false
{parameters}
"""

# With these ids the requests meet rows, not only 404s; a stream is of a run that has ended.
_KNOWN_IDS = """
parameters = {{ "path.intent_id" = "{intent}" }}

[[operations]]
include-path-regex = "^/runs/[^/]+(/((approve|reject)-plan|request-changes|plan|gates|interactions|history))?$"
parameters = {{ "path.run_id" = "{run}" }}

[[operations]]
include-path = "/runs/{{run_id}}/events"
parameters = {{ "path.run_id" = "{ended}" }}

[[operations]]
include-path = "/artifacts/{{uri}}"
parameters = {{ "path.uri" = "{uri}" }}
"""


_PLAN = {"goal": "g", "design": [], "files": [], "risks": [], "tests": []}
# The streams with the inbox do not end.
_ENDLESS = ("--exclude-path", "/inbox/events", "--exclude-path", "/events")


def _schemathesis(api: Api, folder: Path, parameters: str, *options: str) -> None:
    """Run it against the live API's own document; what it finds fails the test."""
    file = folder / "schemathesis.toml"
    file.write_text(_CONFIGURATION.format(parameters=parameters))
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(file), "run", *options]
    found = subprocess.run(
        [*program, "--continue-on-failure", f"{api.url}/openapi.json"],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=folder,
    )
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.fixture
def known_ids(api: Api) -> str:
    """Rows for every path parameter, as a piece of the configuration."""
    with api.dependencies.database.connect() as connection:
        run = a_run(connection)
        connection.execute(
            "INSERT INTO app.run_steps (run_id, step_id, phase, output, started_at)"
            " VALUES (%s, 'CompileST', 'compilation', %s, now())",
            [run.id, Jsonb(_PLAN)],
        )
        ended = runs.move(connection, a_run(connection, an_intent("ended")), RunStatus.CANCELED)
        uri = _an_artifact(connection, run.id)
    return _KNOWN_IDS.format(intent=run.intent_id, run=run.id, ended=ended.id, uri=uri)


def _an_artifact(connection: Connection, run_id: str) -> str:
    uri = f"artifact://run/{run_id}/step/CompileST/task//plan.json"
    connection.execute(
        "INSERT INTO app.artifacts (run_id, step_id, idx, kind, uri, inline, sha256)"
        " VALUES (%s, 'CompileST', 0, 'plan_card', %s, '{}', %s)",
        [run_id, uri, "a" * 64],
    )
    return uri


def test_every_answer_to_any_id_and_to_ids_of_earlier_answers_is_as_published(api: Api, tmp_path: Path) -> None:
    # Here it finds runs that never end, and would read their streams for ever.
    events = "/runs/{run_id}/events"
    _schemathesis(api, tmp_path, "", "--phases", "coverage,fuzzing,stateful", "--exclude-path", events, *_ENDLESS)


@pytest.mark.slow
def test_every_answer_to_known_ids_is_as_published(api: Api, known_ids: str, tmp_path: Path) -> None:
    _schemathesis(api, tmp_path, known_ids, "--phases", "coverage,fuzzing", *_ENDLESS)
