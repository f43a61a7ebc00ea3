"""The client's side of ACP: every frame is recorded, and permissions are granted by the kind of their options."""

from collections.abc import Sequence
from typing import Any, Literal

from acp import schema

from resources.planner.acp.agent_lines import AgentLines
from resources.planner.acp.transcript import Transcript

_WANTED: Sequence[Literal["allow_once", "allow_always"]] = ("allow_once", "allow_always")


class RecordedLines:
    """A transport that records every frame and keeps the agent's updates, which need no answer, to itself.

    The SDK would validate each update and log the content of those it does not know.
    """

    def __init__(self, lines: AgentLines, transcript: Transcript) -> None:
        self._lines = lines
        self._transcript = transcript

    async def send(self, message: dict[str, Any]) -> None:
        """Send and record a message."""
        self._transcript.add("out", message)
        await self._lines.send(message)

    async def receive(self) -> dict[str, Any] | None:
        """The agent's next request or answer; None once its output has ended."""
        while (message := await self._lines.receive()) is not None:
            self._transcript.add("in", message)
            if "method" not in message or "id" in message:
                return message
        return None

    async def close(self) -> None:
        """Close the pipe to the agent."""
        await self._lines.close()


class AgentClient:
    """Answers the agent's requests. The sandbox is the boundary: everything is permitted inside it."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript

    async def request_permission(
        self, session_id: str, tool_call: schema.ToolCallUpdate, options: list[schema.PermissionOption], **_: Any
    ) -> schema.RequestPermissionResponse:
        """Choose the option that allows once, else the one that always allows; never by its id."""
        by_kind = {option.kind: option for option in reversed(options)}
        chosen = next((by_kind[kind] for kind in _WANTED if kind in by_kind), None)
        answer = "cancelled" if chosen is None else str(chosen.kind)
        self._transcript.permissions.append({"kind": str(tool_call.kind or "other"), "answer": answer})
        if chosen is None:
            return schema.RequestPermissionResponse(outcome=schema.DeniedOutcome(outcome="cancelled"))
        return schema.RequestPermissionResponse(
            outcome=schema.AllowedOutcome(outcome="selected", option_id=chosen.option_id)
        )

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        """Never called: the transport keeps updates to itself."""
