"""Artifacts: small ones inline, large ones in the blob store, each content once."""

import threading
from pathlib import Path
from typing import Any

import pytest

from sisu_pipeline.contracts.step_outputs import StepId
from sisu_pipeline.domain.canonical import canonical_json, sha256_hex
from sisu_pipeline.domain.errors import DeterminismBreach, NotFound
from sisu_pipeline.steps.step_result import Artifact, json_artifact
from sisu_pipeline.store.outputs import artifacts
from sisu_pipeline.store.outputs.artifacts import INLINE_LIMIT, BlobStore
from sisu_pipeline.workflow.dependencies import Dependencies
from tests.builders import a_run


def an_artifact(run_id: str, content: Any, idx: int = 0) -> Artifact:
    return json_artifact(run_id, StepId.COMPILE, idx, "plan_card", f"plan-{idx}.json", content)


def text_of_json_size(size: int) -> dict[str, str]:
    """An object whose canonical JSON has this many bytes, most of them of two-byte characters."""
    overhead = len(canonical_json({"text": ""}))
    letters, odd = divmod(size - overhead, 2)
    value = {"text": "é" * letters + "x" * odd}
    assert len(canonical_json(value).encode()) == size
    return value


@pytest.mark.parametrize(("size", "blobs"), [(INLINE_LIMIT, 0), (INLINE_LIMIT + 1, 1)])
def test_content_over_64_kib_goes_to_the_blob_store(
    dependencies: Dependencies, tmp_path: Path, size: int, blobs: int
) -> None:
    content = text_of_json_size(size)
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        artifact = an_artifact(run.id, content)
        artifacts.insert(connection, run.id, [artifact], dependencies.blobs)
        (card,) = artifacts.of_run(connection, run.id, 10)
        stored = artifacts.by_uri(connection, artifact.uri)
    assert (card.size_bytes, card.sha256) == (size, artifact.sha256)
    assert artifacts.content(stored, dependencies.blobs) == content
    files = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert len(files) == blobs
    assert all(path.name == sha256_hex(path.read_bytes()) for path in files)
    assert (stored.inline == content) == (card.inline == content) == (blobs == 0)


def test_a_missing_blob_is_not_found(dependencies: Dependencies) -> None:
    with pytest.raises(NotFound):
        dependencies.blobs.get("0" * 64)


def test_the_same_content_is_one_blob(tmp_path: Path) -> None:
    store = BlobStore(str(tmp_path))
    assert store.put(b"same") == store.put(b"same") == sha256_hex(b"same")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [sha256_hex(b"same")]


def test_two_writers_of_one_content_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, content = BlobStore(str(tmp_path)), b"x" * 1000
    path_type = type(store.root)
    rename = path_type.rename

    def after_another_writer(self: Any, target: Any) -> Any:
        monkeypatch.setattr(path_type, "rename", rename)
        other = threading.Thread(target=store.put, args=[content])
        other.start()
        other.join()
        return rename(self, target)

    monkeypatch.setattr(path_type, "rename", after_another_writer)
    assert store.get(store.put(content)) == content
    assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == [content]


def test_storing_artifacts_again_changes_nothing(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        both = [an_artifact(run.id, {"n": idx}, idx) for idx in range(2)]
        artifacts.insert(connection, run.id, both[:1], dependencies.blobs)
        artifacts.insert(connection, run.id, both, dependencies.blobs)
        artifacts.insert(connection, run.id, both, dependencies.blobs)
        artifacts.insert(connection, run.id, [], dependencies.blobs)
        rows = connection.execute("SELECT idx, inline FROM app.artifacts ORDER BY idx").fetchall()
    assert rows == [{"idx": 0, "inline": {"n": 0}}, {"idx": 1, "inline": {"n": 1}}]


def test_another_hash_at_the_same_place_is_a_breach_that_names_it(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        artifacts.insert(connection, run.id, [an_artifact(run.id, {"n": 1})], dependencies.blobs)
        changed = [an_artifact(run.id, {"n": 2}), an_artifact(run.id, {"n": 3}, idx=1)]
        with pytest.raises(DeterminismBreach, match=changed[0].uri):
            artifacts.insert(connection, run.id, changed, dependencies.blobs)


def test_two_contents_for_one_place_in_one_call_are_a_breach(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection:
        run = a_run(connection)
        both = [an_artifact(run.id, {"n": 1}), an_artifact(run.id, {"n": 2})]
        with pytest.raises(DeterminismBreach):
            artifacts.insert(connection, run.id, both, dependencies.blobs)


def test_an_unknown_address_is_not_found(dependencies: Dependencies) -> None:
    with dependencies.database.connect() as connection, pytest.raises(NotFound):
        artifacts.by_uri(connection, "artifact://run/nowhere")
