"""Artifacts of runs, inserted once each; content over 64 KiB is in the blob store under its sha256."""

import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb
from upath import UPath

from resources.database import Connection
from sisu_pipeline.domain.canonical import canonical_json, load_stored_json, sha256_hex
from sisu_pipeline.domain.errors import DeterminismBreach, NotFound
from sisu_pipeline.steps.step_result import Artifact
from sisu_pipeline.store.records import execute, fetch_all, fetch_column, fetch_first, fetch_value

INLINE_LIMIT = 64 * 1024


@dataclass(frozen=True)
class StoredArtifact:
    """An artifact; `inline` is its content, or `{"blob": sha256}` of content in the blob store."""

    uri: str
    kind: str
    sha256: str
    inline: Any


@dataclass(frozen=True)
class ArtifactCard:
    """An artifact in a list; `inline` only when it belongs to the step itself and is stored in the row."""

    step_id: str
    task_key: str
    kind: str
    uri: str
    size_bytes: int
    sha256: str
    inline: Any


class BlobStore:
    """Content by its sha256, in any folder that fsspec supports (`file:`, `s3://…`)."""

    def __init__(self, root: str) -> None:
        self.root = UPath(root)

    def put(self, content: bytes) -> str:
        """Store the bytes and return their sha256. Storing the same bytes twice makes one object."""
        digest = sha256_hex(content)
        path = self._path(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Write to another file, then rename: a reader sees a whole object or none. Two writers of the same
            # content must not share that file.
            partial = path.with_name(f"{digest}.{os.getpid()}-{threading.get_ident()}.partial")
            partial.write_bytes(content)
            partial.rename(path)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of an object. Raises NotFound."""
        try:
            return bytes(self._path(digest).read_bytes())
        except FileNotFoundError as error:
            raise NotFound(f"blob {digest} is not in {self.root}") from error

    def _path(self, digest: str) -> UPath:
        return self.root / digest[:2] / digest


def insert(connection: Connection, run_id: str, artifacts: Sequence[Artifact], blobs: BlobStore) -> None:
    """Insert the artifacts of a run. Raises DeterminismBreach when one is stored with other content."""
    insert_many(connection, ((run_id, artifact) for artifact in artifacts), blobs)


def insert_many(connection: Connection, pairs: Iterable[tuple[str, Artifact]], blobs: BlobStore) -> None:
    """Insert artifacts of several runs in one statement: (run id, artifact) pairs. Raises DeterminismBreach."""
    rows = [_columns(run_id, artifact, blobs) for run_id, artifact in pairs]
    if not rows:
        return
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    if execute(connection, "artifacts.insert", columns) == len(rows):
        return
    diverging = fetch_column(connection, "artifacts.diverging", columns)
    if diverging:
        raise DeterminismBreach(f"Artifact divergence in {', '.join(diverging)}")


def by_uri(connection: Connection, uri: str) -> StoredArtifact:
    """The artifact at an address. Raises NotFound."""
    artifact = fetch_first(connection, "artifacts.by_uri", StoredArtifact, {"uri": uri})
    if artifact is None:
        raise NotFound("artifact not found")
    return artifact


def of_run(connection: Connection, run_id: str, limit: int) -> list[ArtifactCard]:
    """A run's artifacts in a fixed order, at most `limit`."""
    parameters = {"run_id": run_id, "limit": limit, "inline_limit": INLINE_LIMIT}
    return fetch_all(connection, "artifacts.of_run", ArtifactCard, parameters)


def count_of_run(connection: Connection, run_id: str) -> int:
    """How many artifacts a run has."""
    return int(fetch_value(connection, "artifacts.count_of_run", {"run_id": run_id}))


def content(artifact: StoredArtifact, blobs: BlobStore) -> Any:
    """An artifact's JSON content, from its row or from the blob store. Raises NotFound."""
    inline = artifact.inline
    if isinstance(inline, dict) and set(inline) == {"blob"}:
        return load_stored_json(blobs.get(inline["blob"]))
    return inline


def _columns(run_id: str, artifact: Artifact, blobs: BlobStore) -> dict[str, Any]:
    text = canonical_json(artifact.inline).encode()
    inline = Jsonb(artifact.inline, dumps=lambda _: text) if len(text) <= INLINE_LIMIT else _blob(text, blobs)
    return {
        "run_id": run_id,
        "step_id": artifact.step_id,
        "task_key": artifact.task_key,
        "idx": artifact.idx,
        "attempt": artifact.attempt,
        "kind": artifact.kind,
        "uri": artifact.uri,
        "inline": inline,
        "size_bytes": len(text),
        "sha256": artifact.sha256,
    }


def _blob(text: bytes, blobs: BlobStore) -> Jsonb:
    return Jsonb({"blob": blobs.put(text)})
