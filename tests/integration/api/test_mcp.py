"""A client of the Model Context Protocol submits intents and reads runs through `sisu mcp`, and cannot decide."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from mcp import StdioServerParameters
from mcp.client import Client
from mcp_types import CallToolResult, TextContent

from sisu_pipeline.settings import PROJECT_ROOT, child_environment
from tests.integration.api.conftest import Api
from tests.integration.gate.world import Waiting


def with_client(api: Api, use: Callable[[Client], Awaitable[None]]) -> None:
    """Run a client against `sisu mcp` in a process of its own."""
    command = [sys.executable, "-m", "sisu_pipeline.cli", "mcp", "--url", api.url]
    server = StdioServerParameters(
        command=command[0], args=command[1:], env=child_environment(), cwd=str(PROJECT_ROOT)
    )

    async def run() -> None:
        async with Client(server) as client:
            await use(client)

    asyncio.run(run())


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def test_an_agent_submits_an_intent_watches_its_run_and_reads_its_changes(api: Api) -> None:
    waiting = Waiting(api.dependencies)

    async def use(client: Client) -> None:
        assert "no tool can approve a plan" in str(client.instructions)
        content = {"goal": "through MCP", "inputs": {"files": {"a.txt": "a\n"}, "tests": ["t1"]}}
        first = await client.call_tool("submit_intent", content)
        again = await client.call_tool("submit_intent", content)
        assert first.structured_content == again.structured_content
        submitted: dict[str, Any] = first.structured_content or {}
        assert submitted["link"] == f"{api.url}/#/runs/{submitted['runId']}"
        watched = await client.call_tool("watch_run", {"run": waiting.run_id, "timeout_s": 10})
        state: dict[str, Any] = watched.structured_content or {}
        assert (state["status"], state["nextAction"]) == ("waiting_input", "APPROVE_PLAN")
        running = await client.call_tool("watch_run", {"run": submitted["runId"], "timeout_s": 1})
        assert (running.structured_content or {})["status"] == "queued"
        assert "+after" in text_of(await client.call_tool("read_changes", {"run": waiting.run_id}))
        plan = await client.call_tool("read_plan", {"run": waiting.run_id})
        sha256 = (plan.structured_content or {})["planSha256"]
        gates = await client.call_tool("list_gates", {})
        assert [gate["planSha256"] for gate in (gates.structured_content or {})["gates"]] == [sha256]
        shown = await client.call_tool("show_run", {"run": waiting.run_id})
        uri = next(each["uri"] for each in (shown.structured_content or {})["artifacts"])
        assert text_of(await client.call_tool("read_artifact", {"uri": uri}))
        listed = await client.call_tool("list_runs", {"status": "waiting_input"})
        assert [run["runId"] for run in (listed.structured_content or {})["runs"]] == [waiting.run_id]

    with_client(api, use)


def test_no_tool_decides_and_refusals_name_what_to_correct(api: Api) -> None:
    async def use(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools.keys() == {
            *("submit_intent", "list_runs", "show_run", "watch_run", "read_plan", "read_changes"),
            *("list_gates", "read_artifact"),
        }
        changing = {
            name for name, tool in tools.items() if tool.annotations and not tool.annotations.read_only_hint
        }
        assert changing == {"submit_intent"}
        refused = await client.call_tool("submit_intent", {"goal": "", "inputs": {}})
        assert refused.is_error
        assert "/goal" in text_of(refused)
        for uri in ("artifact://run/../../runs", "../runs"):
            assert "is not the address of an artifact" in text_of(
                await client.call_tool("read_artifact", {"uri": uri})
            )
        missing = await client.call_tool("show_run", {"run": "run_0"})
        assert (missing.is_error, "run not found" in text_of(missing)) == (True, True)

    with_client(api, use)
