"""The transcript of a session: every frame in both directions, and what it says about the agent's work."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sisu_pipeline.domain.plain_json import plain, plain_text

_MOST_BYTES = 64 * 1024 * 1024
_MOST_TEXT = 20_000
REDACTED = "[redacted]"


@dataclass
class Transcript:
    """The frames of a session. `secrets` are replaced before a frame is stored."""

    secrets: tuple[str, ...] = ()
    frames: list[dict[str, Any]] = field(default_factory=list)
    heard_at: float = field(default_factory=time.monotonic)
    """When the last frame of the agent came, by the monotonic clock."""
    dropped: int = 0
    """Frames that were not stored because the transcript had become too large."""
    permissions: list[dict[str, str]] = field(default_factory=list)
    _bytes: int = 0
    _kinds: dict[str, str] = field(default_factory=dict)
    _text: str = ""

    def add(self, way: Literal["in", "out"], frame: Mapping[str, Any]) -> None:
        """Record a frame: `in` comes from the agent."""
        now = time.monotonic()
        if way == "in":
            self.heard_at = now
            self._note(frame)
        text = json.dumps(plain(frame), ensure_ascii=False)
        for secret in self.secrets:
            # As it stands in JSON text, where quotes and backslashes of the secret are escaped.
            text = text.replace(json.dumps(secret, ensure_ascii=False)[1:-1], REDACTED)
        self._bytes += len(text)
        if self._bytes > _MOST_BYTES:
            self.dropped += 1
            return
        self.frames.append({"way": way, "at": round(now, 3), "frame": json.loads(text)})

    @property
    def tool_calls(self) -> dict[str, int]:
        """The number of tool calls by kind, as the agent named the kinds."""
        return dict(sorted(Counter(self._kinds.values()).items()))

    @property
    def text(self) -> str:
        """What the agent wrote in its messages, up to a limit."""
        return self._text

    def _note(self, frame: Mapping[str, Any]) -> None:
        params = frame.get("params")
        update = params.get("update") if isinstance(params, dict) else None
        if frame.get("method") != "session/update" or not isinstance(update, dict):
            return
        identity, kind = update.get("toolCallId"), update.get("kind")
        if update.get("sessionUpdate") in ("tool_call", "tool_call_update") and isinstance(identity, str):
            self._kinds[identity] = (
                plain_text(kind[:40]) if isinstance(kind, str) else self._kinds.get(identity, "other")
            )
        content = update.get("content")
        if update.get("sessionUpdate") == "agent_message_chunk" and isinstance(content, dict):
            text = content.get("text")
            if isinstance(text, str):
                self._text = (self._text + plain_text(text))[:_MOST_TEXT]
