"""Tokens and cost of model calls, read from the provider's answers as they pass the proxy."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from resources.planner.acp.agent_settings import ModelSettings, PlanLimits

_INPUT = ("prompt_tokens", "input_tokens", "promptTokenCount")
_OUTPUT = ("completion_tokens", "output_tokens", "candidatesTokenCount")
# Anthropic counts tokens that it read from or wrote to its cache separately from the other input tokens.
_CACHED = ("cache_read_input_tokens", "cache_creation_input_tokens")
_HOLDERS = ("usage", "usageMetadata")
_MILLION = Decimal(1_000_000)


@dataclass
class Usage:
    """Model calls of one question: their number, the tokens, and the calls whose answer stated no tokens."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    uncounted_calls: int = 0

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.input_tokens + self.output_tokens

    def cost_usd(self, model: ModelSettings) -> Decimal | None:
        """The cost in US dollars; None without prices."""
        if model.input_price is None or model.output_price is None:
            return None
        return (self.input_tokens * model.input_price + self.output_tokens * model.output_price) / _MILLION


def exceeded(usage: Usage, limits: PlanLimits, model: ModelSettings) -> str | None:
    """The sentence about the first limit that the calls so far have reached; None while all hold."""
    if limits.tokens is not None and usage.tokens > limits.tokens:
        return f"budget exceeded: maxPlanTokens is {limits.tokens} (got {usage.tokens})"
    cost = usage.cost_usd(model)
    if limits.cost_usd is not None and cost is not None and cost > limits.cost_usd:
        return f"budget exceeded: maxPlanCostUSD is {limits.cost_usd} (got {cost:f})"
    return None


class AnswerReader:
    """Reads the usage out of one answer, which is a JSON document or a stream of server-sent events."""

    def __init__(self, is_stream: bool) -> None:
        self._is_stream = is_stream
        self._rest = b""
        self._input: int | None = None
        self._output: int | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the answer."""
        self._rest += data
        if self._is_stream:
            *lines, self._rest = self._rest.split(b"\n")
            for line in lines:
                if line.startswith(b"data:"):
                    self._read(line[5:])

    def finish(self, usage: Usage) -> None:
        """Count the answer, which is complete or was broken off."""
        self._read(self._rest.removeprefix(b"data:") if self._is_stream else self._rest)
        usage.calls += 1
        usage.input_tokens += self._input or 0
        usage.output_tokens += self._output or 0
        usage.uncounted_calls += self._input is None and self._output is None

    def _read(self, text: bytes) -> None:
        try:
            document = json.loads(text)
        except ValueError:
            return
        for found in _usages(document):
            # A stream repeats or raises the counts as it goes: the highest are the totals.
            self._input = _highest(self._input, found, _INPUT, _CACHED)
            self._output = _highest(self._output, found, _OUTPUT, ())


def _usages(document: Any, depth: int = 3) -> Iterator[Mapping[str, Any]]:
    """The objects that hold counts: at the top, in `message` (Anthropic), in `response` (OpenAI's Responses)."""
    if not isinstance(document, dict) or not depth:
        return
    for name in _HOLDERS:
        if isinstance(document.get(name), dict):
            yield document[name]
    for name in ("message", "response"):
        yield from _usages(document.get(name), depth - 1)


def _highest(
    before: int | None, found: Mapping[str, Any], names: tuple[str, ...], added: tuple[str, ...]
) -> int | None:
    counts = _counts(found, names)
    return max(before or 0, max(counts) + sum(_counts(found, added))) if counts else before


def _counts(found: Mapping[str, Any], names: tuple[str, ...]) -> list[int]:
    values = [found.get(name) for name in names]
    return [value for value in values if isinstance(value, int) and not isinstance(value, bool) and value >= 0]
