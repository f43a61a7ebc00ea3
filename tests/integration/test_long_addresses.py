"""Results with paths of any length: stored whole, and found at their addresses."""

import random
import string

from sisu_pipeline.contracts.sandbox_request import FileOut
from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.domain.identity import artifact_uri
from sisu_pipeline.steps.step_result import Artifact
from sisu_pipeline.store.outputs import artifacts
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import a_run


def test_a_result_whose_path_no_b_tree_can_hold_is_stored_and_found(dependencies: Dependencies) -> None:
    letters = random.Random(1)
    path = "/".join("".join(letters.choices(string.ascii_letters, k=240)) for _ in range(12))
    file = FileOut(path=path, sha256=sha256_hex("x"), inline="x")
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        uri = artifact_uri(run.id, StepId.EXECUTE, "k", f"files/{file.path}")
        stored = Artifact(StepId.EXECUTE, 1, "file", uri, {"text": "x"}, file.sha256, "k", 1)
        artifacts.insert(connection, run.id, [stored], dependencies.blobs)
        artifacts.insert(connection, run.id, [stored], dependencies.blobs)
        assert artifacts.by_uri(connection, uri).inline == {"text": "x"}
