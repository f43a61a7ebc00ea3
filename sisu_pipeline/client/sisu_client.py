"""The operations of the API as methods."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from sisu_pipeline.client import replies
from sisu_pipeline.client.http_transport import HttpTransport
from sisu_pipeline.client.request_failed import RequestFailed

ENDED = frozenset({"succeeded", "failed", "canceled", "retries_exceeded"})
"""The statuses in which a run has ended."""
WAITING = "waiting_input"
"""The status of a run that waits for a person."""

_RECONNECT_TIMEOUT_S = 30.0
_RECONNECT_DELAY_S = 0.5
_DEFAULT_RUN = {"recipeName": "sandbox-default", "queuePartitionKey": "default"}
_BINARY = "application/octet-stream"
_VERBATIM_KINDS = frozenset({"stdout", "stderr", "file"})
"""Kinds of artifacts whose content is served as the bytes that were hashed."""
_BAD_REQUEST = 400


@dataclass(frozen=True)
class Download:
    """The content of an artifact."""

    content: bytes
    media_type: str
    sha256: str
    """Hash under which the artifact is stored: of these bytes, or of the canonical form (RFC 8785) of JSON."""


class Client(HttpTransport):
    """The API of one deployment. Requests are idempotent, so each may be repeated after a failure.

    `run` is a run id or an intent id, `by` the name to record: with tokens, the owner of the token replaces it.
    Every method raises RequestFailed.
    """

    def submit(self, intent: Mapping[str, Any] | bytes) -> replies.IntentSubmitted:
        """Store an intent: an object with goal, inputs and constraints, or the bytes of its JSON."""
        return cast("replies.IntentSubmitted", self.post("intents", body=intent))

    def start(self, intent_id: str, request: Mapping[str, Any] | None = None) -> replies.RunStarted:
        """Start the run of an intent; by default with the recipe `sandbox-default` in the partition `default`."""
        body = _DEFAULT_RUN if request is None else request
        return cast("replies.RunStarted", self.post("intents", intent_id, "run", body=body))

    def show(self, run: str) -> replies.RunView:
        """Read a run with its steps, tasks and artifacts."""
        return cast("replies.RunView", self.get("runs", run))

    def runs(self, *, status: str | None = None, limit: int = 20, before: str | None = None) -> replies.RunPage:
        """List runs, the newest first."""
        return cast("replies.RunPage", self.get("runs", status=status, limit=limit, before=before))

    def watch(self, run: str, *, until_gate: bool = False) -> Iterator[replies.RunProgress]:
        """Yield the run now and at every change, until it ends; with `until_gate`, until it waits for a person.

        Connects again when the API restarts; gives up after 30 s. A first connection that fails is not repeated.
        """
        deadline: float | None = None
        while True:
            try:
                for state in self.run_events(run):
                    deadline = time.monotonic() + _RECONNECT_TIMEOUT_S
                    yield cast("replies.RunProgress", state)
                    if state["status"] in ENDED or (until_gate and state["status"] == WAITING):
                        return
            except RequestFailed as failure:
                if not failure.is_passing or deadline is None or time.monotonic() > deadline:
                    raise
            time.sleep(_RECONNECT_DELAY_S)

    def run_events(self, run: str) -> Iterator[dict[str, Any]]:
        """Yield the run now and at every change, until it ends or the connection does."""
        yield from self.events("runs", run, "events")

    def run_output(self, run: str, after: int = 0) -> Iterator[replies.OutputPiece]:
        """Yield the output of the run's tasks after a piece, until the run ends or the connection does."""
        for piece in self.events("runs", run, "output", after=after):
            yield cast("replies.OutputPiece", piece)

    def plan(self, run: str) -> replies.PlanView:
        """Read the newest version of a run's plan, with the hash that an approval names."""
        return cast("replies.PlanView", self.get("runs", run, "plan"))

    def gates(self, run: str) -> replies.Gates:
        """List the gates of a run."""
        return cast("replies.Gates", self.get("runs", run, "gates"))

    def open_gates(self, **query: object) -> replies.OpenGates:
        """List the open gates of all runs, the most urgent first; the query is that of `GET /gates`."""
        return cast("replies.OpenGates", self.get("gates", **query))

    def approve(
        self,
        run: str,
        *,
        by: str,
        plan_sha256: str | None = None,
        notes: str | None = None,
        plan: Any = None,
        dedupe_key: str | None = None,
    ) -> replies.Approved:
        """Approve a plan: with `plan_sha256` only that one, with `plan` your edited version of it."""
        body = {"approvedBy": by, "planSha256": plan_sha256, "notes": notes, "plan": plan, "dedupeKey": dedupe_key}
        return cast("replies.Approved", self.post("runs", run, "approve-plan", body=_given(body)))

    def reject(
        self, run: str, *, by: str, reason: str, plan_sha256: str | None = None, dedupe_key: str | None = None
    ) -> replies.Rejected:
        """Reject a plan with a reason for the submitter: its patches are rolled back, and the run ends."""
        body = {"rejectedBy": by, "reason": reason, "planSha256": plan_sha256, "dedupeKey": dedupe_key}
        return cast("replies.Rejected", self.post("runs", run, "reject-plan", body=_given(body)))

    def request_changes(
        self, run: str, *, by: str, comment: str, plan_sha256: str | None = None, dedupe_key: str | None = None
    ) -> replies.ChangesRequested:
        """Request changes to a plan: a coding agent plans again, and the gate opens for its plan."""
        body = {"requestedBy": by, "comment": comment, "planSha256": plan_sha256, "dedupeKey": dedupe_key}
        return cast("replies.ChangesRequested", self.post("runs", run, "request-changes", body=_given(body)))

    def answer(
        self, run: str, gate_key: str, answer: Any, *, by: str, dedupe_key: str | None = None
    ) -> replies.Answered:
        """Answer the question of a gate with an object that fits its form."""
        body = {"answeredBy": by, "answer": answer, "dedupeKey": dedupe_key}
        return cast("replies.Answered", self.post("runs", run, "gates", gate_key, "answer", body=_given(body)))

    def cancel(self, run: str, *, by: str, reason: str = "") -> replies.Operated:
        """Cancel a run: its tasks stop and its patches are rolled back."""
        return cast("replies.Operated", self.post("runs", run, "cancel", body={"actor": by, "reason": reason}))

    def retry(self, run: str, *, by: str, reason: str = "") -> replies.Operated:
        """Retry a failed run from its first step without a successful result."""
        return cast("replies.Operated", self.post("runs", run, "retry", body={"actor": by, "reason": reason}))

    def artifact(self, artifact: replies.ArtifactView | str) -> Download:
        """Download an artifact by its card in a run, or by its address `artifact://run/…`.

        Output and files are checked against their hash, text only with the card, which names its kind. The hash of
        JSON is that of its canonical form (RFC 8785), which is not checked.
        """
        uri, kind = (artifact, "") if isinstance(artifact, str) else (artifact["uri"], artifact["kind"])
        path = uri.removeprefix("artifact://").split("/")
        if not {"", ".", ".."}.isdisjoint(path):
            message = f"{uri!r} is not the address of an artifact: use one that the run lists"
            raise RequestFailed(message, "invalid_uri", _BAD_REQUEST)
        response = self.send("GET", "artifacts", *path)
        media_type, sha256 = response.headers.get("content-type", ""), response.headers.get("etag", "").strip('"')
        is_verbatim = kind in _VERBATIM_KINDS or media_type == _BINARY
        if is_verbatim and hashlib.sha256(response.content).hexdigest() != sha256:
            message = f"{uri} has other bytes than its hash {sha256}: download it again"
            raise RequestFailed(message, "damaged", response.status_code)
        return Download(response.content, media_type, sha256)

    def patch(self, run: str) -> bytes:
        """Download the changes of a run's plan as a patch for `git apply`."""
        return self.download("runs", run, "patch")

    def bundle(self, run: str) -> bytes:
        """Download a git bundle with the branch `sisu/RUN`: the commit of a run's approved plan."""
        return self.download("runs", run, "bundle")


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    """The members that have a value."""
    return {name: value for name, value in body.items() if value is not None}
