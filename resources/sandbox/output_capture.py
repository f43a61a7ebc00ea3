"""Capture of stdout and stderr: decoded, passed to the sink as it appears, truncated at a limit."""

import codecs
import logging
from typing import Literal

from resources.sandbox.sandbox_port import Chunk, ChunkSink

Kind = Literal["stdout", "stderr"]

MOST_BYTES = 1024 * 1024
"""Limit per stream. The rest is read and dropped: a flooding command is not blocked, and ends by its timeout."""

_log = logging.getLogger(__name__)


class Output:
    """Both streams of one command. The chunks passed to the sink, joined, equal `text`."""

    def __init__(self, on_chunk: ChunkSink) -> None:
        self._sink: ChunkSink | None = on_chunk
        self._streams: dict[Kind, _Stream] = {"stdout": _Stream("stdout"), "stderr": _Stream("stderr")}
        self._seq = 0

    def feed(self, kind: Kind, data: bytes) -> None:
        """Add bytes that were read."""
        self._send(kind, self._streams[kind].feed(data))

    def finish(self, kind: Kind) -> None:
        """Mark a stream as ended."""
        self._send(kind, self._streams[kind].finish())

    def complete(self, kind: Kind, data: bytes) -> None:
        """Replace a stream by its complete content after a part was missed, and pass the rest to the sink."""
        sent = self.text(kind)
        whole = _Stream(kind)
        whole.feed(data)
        whole.finish()
        self._streams[kind] = whole
        text = "".join(whole.pieces)
        self._send(kind, text[_common(sent, text) :])

    def text(self, kind: Kind) -> str:
        """The stream so far."""
        return "".join(self._streams[kind].pieces)

    def evidence(self) -> dict[str, int | bool]:
        """Bytes seen on each stream, and whether it was cut, for raw."""
        return {
            "stdoutBytes": self._streams["stdout"].seen,
            "stderrBytes": self._streams["stderr"].seen,
            "stdoutTruncated": self._streams["stdout"].is_cut,
            "stderrTruncated": self._streams["stderr"].is_cut,
        }

    def _send(self, kind: Kind, text: str) -> None:
        if not text:
            return
        chunk = Chunk(kind, text, self._seq)
        self._seq += 1
        if self._sink is None:
            return
        try:
            self._sink(chunk)
        except Exception:
            # Live output is best effort: a broken sink must not fail the task.
            _log.exception("the listener to a task's output failed and gets no more of it")
            self._sink = None


class _Stream:
    def __init__(self, kind: Kind) -> None:
        self.pieces: list[str] = []
        self.seen = 0
        self._kind = kind
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    @property
    def is_cut(self) -> bool:
        return self.seen > MOST_BYTES

    def feed(self, data: bytes) -> str:
        room = max(0, MOST_BYTES - self.seen)
        was_cut = self.is_cut
        self.seen += len(data)
        text = self._decoder.decode(data[:room], final=self.is_cut and not was_cut)
        if self.is_cut and not was_cut:
            text += f"\n[{self._kind} truncated after {MOST_BYTES} bytes]\n"
        return self._keep(text)

    def finish(self) -> str:
        return "" if self.is_cut else self._keep(self._decoder.decode(b"", final=True))

    def _keep(self, text: str) -> str:
        # Postgres holds no NUL in text or jsonb.
        text = text.replace("\0", "\ufffd")
        if text:
            self.pieces.append(text)
        return text


def _common(sent: str, text: str) -> int:
    """Length of the common prefix: a stream that broke inside a character passed on a wrong last one."""
    if text.startswith(sent):
        return len(sent)
    return next((at for at, (one, other) in enumerate(zip(sent, text, strict=False)) if one != other), len(text))
