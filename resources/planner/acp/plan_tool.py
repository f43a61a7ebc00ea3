"""The MCP tool `submit_plan`, by which an agent submits its plan; the first valid call is the answer.

The agent starts it as a stdio MCP server: `box_relay.py stdio` inside its sandbox, which connects to a Unix socket
of this process. So the call arrives here, is validated here, and the agent's sandbox contains no code of ours but
the relay.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage

from sisu_pipeline.contracts.agent_plan import AgentPlan, plan_schema
from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.domain.plain_json import plain

TOOL = "submit_plan"
SERVER = "sisu"
_MOST_CALLS = 100

_DESCRIPTION = (
    "Submit the plan for the change that you have made in the working directory. Call it once, at the end."
)
# Without these hints, Codex asks a second model whether the call is safe.
_HINTS = types.ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Call:
    """A call of the tool: when it came by the monotonic clock, its arguments, and whether the plan was accepted."""

    at: float
    arguments: dict[str, Any]
    is_accepted: bool


@dataclass
class PlanTool:
    """The tool of one question. `listed` is set once the agent has asked for the tools."""

    listed: asyncio.Event = field(default_factory=asyncio.Event)
    plan: AgentPlan | None = None
    calls: list[Call] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of the relay until it ends."""
        server: Server[Any] = Server(SERVER, version="1", on_list_tools=self._list, on_call_tool=self._call)
        try:
            await _run(server, (reader, writer))
        finally:
            writer.close()

    def submit(self, arguments: dict[str, Any]) -> types.CallToolResult:
        """Accept the first valid plan. The result tells the agent what to correct, or to stop."""
        if len(self.calls) >= _MOST_CALLS:
            return _result("The tool was called too often. Stop now.", is_error=True)
        accepted = False
        if self.plan is not None:
            result = _result("A plan was accepted before, and this one is ignored. Stop now.", is_error=True)
        else:
            try:
                self.plan = AgentPlan.from_json(arguments)
                accepted = True
                result = _result("The plan is accepted. Stop now.")
            except ContractInvalid as invalid:
                faults = "\n".join(f"{fault.pointer or '/'}: {fault.message}" for fault in invalid.faults)
                text = f"The plan is not valid. Correct it and call {TOOL} again:\n{faults}"
                result = _result(text, is_error=True)
        self.calls.append(Call(time.monotonic(), arguments, accepted))
        return result

    async def _list(
        self, context: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        self.listed.set()
        tool = types.Tool(name=TOOL, description=_DESCRIPTION, annotations=_HINTS, input_schema=plan_schema())
        return types.ListToolsResult(tools=[tool])

    async def _call(
        self, context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        if params.name != TOOL:
            return _result(f"There is no tool {params.name}. Call {TOOL}.", is_error=True)
        return self.submit(params.arguments or {})


def _result(text: str, *, is_error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=is_error)


async def _run(server: Server[Any], streams: _Streams) -> None:
    """Run the server over a socket, one JSON message per line."""
    reader, writer = streams
    to_server, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, from_server = anyio.create_memory_object_stream[SessionMessage](0)

    async def receive() -> None:
        async with to_server:
            while line := await _line(reader):
                try:
                    # Not parsed by pydantic, which refuses texts that JSON permits, so that no answer would follow.
                    message = types.jsonrpc_message_adapter.validate_python(plain(json.loads(line)), by_name=False)
                except (ValueError, RecursionError) as error:
                    await to_server.send(ValueError(str(error)))
                else:
                    await to_server.send(SessionMessage(message))

    async def send() -> None:
        async with from_server:
            async for message in from_server:
                writer.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await writer.drain()

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        group.start_soon(send)
        await server.run(incoming, outgoing, server.create_initialization_options())
        group.cancel_scope.cancel()


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line; b"" at the end of the connection, and for a line that is too long."""
    try:
        return await reader.readuntil(b"\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return b""
