"""Artifacts: many at once, each once; large content lies in the blob store under its sha256."""

import os
import threading
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from psycopg.types.json import Jsonb
from upath import UPath

from resources.database import Connection, Row
from sisu_pipeline.domain.canonical import canonical_json, load_stored_json, sha256_hex
from sisu_pipeline.domain.errors import DeterminismBreach, NotFound
from sisu_pipeline.steps.step_result import Artifact
from sql import query

INLINE_LIMIT = 64 * 1024


class BlobStore:
    """Content by its sha256, under any folder fsspec knows (`file:`, `s3://…`)."""

    def __init__(self, root: str) -> None:
        self.root = UPath(root)

    def put(self, content: bytes) -> str:
        """Keep the bytes; returns their sha256. Writing the same bytes twice is one object."""
        digest = sha256_hex(content)
        path = self._path(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # A reader sees a whole object or none: write beside it, then rename. Two writers of the same
            # content must not share the file they write.
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


@cache
def blob_store(root: str) -> BlobStore:
    """The blob store at `root`."""
    return BlobStore(root)


def insert(connection: Connection, run_id: str, artifacts: Sequence[Artifact], blobs: BlobStore) -> None:
    """Keep the artifacts of a run. Raises DeterminismBreach when one is stored with other content."""
    insert_many(connection, ((run_id, artifact) for artifact in artifacts), blobs)


def insert_many(connection: Connection, pairs: Iterable[tuple[str, Artifact]], blobs: BlobStore) -> None:
    """The same for several runs in one statement: (run id, artifact) pairs."""
    rows = [_columns(run_id, artifact, blobs) for run_id, artifact in pairs]
    if not rows:
        return
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    inserted = connection.execute(query("artifacts.insert"), columns).rowcount
    if inserted == len(rows):
        return
    diverging = connection.execute(query("artifacts.diverging"), columns).fetchall()
    if diverging:
        raise DeterminismBreach(f"Artifact divergence in {', '.join(row['uri'] for row in diverging)}")


def by_uri(connection: Connection, uri: str) -> Row:
    """One artifact's row. Raises NotFound."""
    row = connection.execute(query("artifacts.by_uri"), {"uri": uri}).fetchone()
    if row is None:
        raise NotFound("artifact not found")
    return row


def content(row: Row, blobs: BlobStore) -> Any:
    """An artifact's JSON content, wherever it lies."""
    inline = row["inline"]
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
