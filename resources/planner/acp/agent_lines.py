"""The transport of ACP: one JSON object per line over the pipes of an agent."""

import asyncio
import json
from typing import Any

from resources.planner.acp.agent_errors import AgentFailure, FailureCode

LONGEST_LINE = 64 * 1024 * 1024


class AgentLines:
    """Messages to and from an agent. Lines that are not JSON objects are skipped and counted.

    The SDK's own transport passes any JSON value on, and a number or a list breaks its receive loop.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.skipped = 0
        self.failure: AgentFailure | None = None

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message. Raises ConnectionError when the agent has ended."""
        self._writer.write(json.dumps(message, ensure_ascii=False).encode() + b"\n")
        await self._writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None once the agent's output has ended."""
        while line := await self._line():
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                message = None
            if isinstance(message, dict):
                return message
            if line.strip():
                self.skipped += 1
        return None

    async def close(self) -> None:
        """Close the pipe to the agent."""
        self._writer.close()

    async def _line(self) -> bytes:
        """The next line, b"" at the end of the output; a line that never ends ends the connection."""
        parts: list[bytes] = []
        length = 0
        while length < LONGEST_LINE:
            try:
                parts.append(await self._reader.readuntil(b"\n"))
                return b"".join(parts)
            except asyncio.LimitOverrunError as partly:
                parts.append(await self._reader.readexactly(partly.consumed))
                length += partly.consumed
            except asyncio.IncompleteReadError as end:
                return b"".join([*parts, end.partial])
        self.failure = AgentFailure(
            FailureCode.PROTOCOL,
            f"the agent sent a line of more than {LONGEST_LINE} bytes: report this to its vendor",
        )
        return b""
