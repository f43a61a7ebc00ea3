"""A scripted turn as an answer of each API: server-sent events of one text or one call of a tool."""

import json
from collections.abc import Iterator
from typing import Any

Turn = str | tuple[str, dict[str, Any]]
"""A text, or the name of a tool and its arguments. `namespace/name` names a tool of a namespace (Responses)."""

INPUT_TOKENS = 1000
OUTPUT_TOKENS = 50
CHAT_USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
}


def chat_events(turn: Turn, number: int, model: str) -> Iterator[str]:
    """Chat completions of OpenAI."""
    base = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 0, "model": model}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    chunks = [chunk({"role": "assistant", "content": turn if isinstance(turn, str) else ""})]
    if not isinstance(turn, str):
        function = {"name": turn[0], "arguments": json.dumps(turn[1])}
        call = {"index": 0, "id": f"call_{number}", "type": "function", "function": function}
        chunks.append(chunk({"tool_calls": [call]}))
    chunks.append(chunk({}, "stop" if isinstance(turn, str) else "tool_calls"))
    chunks.append({**base, "choices": [], "usage": CHAT_USAGE})
    yield from unnamed(chunks)
    yield "data: [DONE]\n\n"


def completion(turn: Turn, number: int, model: str) -> dict[str, Any]:
    """A chat completion of OpenAI that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": turn if isinstance(turn, str) else None}
    if not isinstance(turn, str):
        function = {"name": turn[0], "arguments": json.dumps(turn[1])}
        message["tool_calls"] = [{"id": f"call_{number}", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "finish_reason": "stop" if isinstance(turn, str) else "tool_calls"}
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 0, "model": model}
    return {**head, "choices": [choice], "usage": CHAT_USAGE}


def response_events(turn: Turn, number: int, model: str) -> Iterator[str]:
    """The Responses API of OpenAI."""
    response = {"id": f"resp_{number}", "object": "response", "model": model}
    usage = {
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    yield from _named(
        [
            {"type": "response.created", "response": response},
            {"type": "response.output_item.done", "output_index": 0, "item": _response_item(turn, number)},
            {"type": "response.completed", "response": {**response, "usage": usage}},
        ]
    )


def message_events(turn: Turn, number: int, model: str) -> Iterator[str]:
    """The Messages API of Anthropic."""
    if isinstance(turn, str):
        block: dict[str, Any] = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": turn}
    else:
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": turn[0], "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(turn[1])}
    reason = "end_turn" if isinstance(turn, str) else "tool_use"
    message: dict[str, Any] = {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 1},
    }
    yield from _named(
        [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": reason, "stop_sequence": None},
                "usage": {"output_tokens": OUTPUT_TOKENS},
            },
            {"type": "message_stop"},
        ]
    )


def generated(turn: Turn) -> dict[str, Any]:
    """`generateContent` of Gemini: the whole answer, which is also the only event of a stream."""
    if isinstance(turn, str):
        part: dict[str, Any] = {"text": turn}
    else:
        part = {"functionCall": {"name": turn[0], "args": turn[1]}}
    return {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": INPUT_TOKENS,
            "candidatesTokenCount": OUTPUT_TOKENS,
            "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
        },
    }


def unnamed(events: list[dict[str, Any]]) -> Iterator[str]:
    """Events without a name."""
    for event in events:
        yield f"data: {json.dumps(event)}\n\n"


def _response_item(turn: Turn, number: int) -> dict[str, Any]:
    if isinstance(turn, str):
        content = [{"type": "output_text", "text": turn, "annotations": []}]
        return {"type": "message", "id": f"msg_{number}", "role": "assistant", "content": content}
    namespace, _, name = turn[0].rpartition("/")
    item = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": name}
    return {**item, "arguments": json.dumps(turn[1]), **({"namespace": namespace} if namespace else {})}


def _named(events: list[dict[str, Any]]) -> Iterator[str]:
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
