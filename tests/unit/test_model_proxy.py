"""Which requests of an agent reach the model's provider, and what its answers cost."""

import json
from decimal import Decimal

import pytest

from resources.planner.acp.agent_settings import Dialect, ModelSettings, PlanLimits
from resources.planner.acp.box.model_proxy import target
from resources.planner.acp.box.model_usage import AnswerReader, Usage, exceeded


def a_model(url: str, dialect: Dialect = "openai") -> ModelSettings:
    return ModelSettings(url, "m", "key", dialect, Decimal(1), Decimal(5))


@pytest.mark.parametrize(
    ("model", "path", "url"),
    [
        (
            a_model("https://api.openai.com/v1"),
            "/v1/chat/completions",
            "https://api.openai.com/v1/chat/completions",
        ),
        (a_model("https://x.org/openai/v1/"), "/v1/responses", "https://x.org/openai/v1/responses"),
        (a_model("http://127.0.0.1:8000"), "/chat/completions", "http://127.0.0.1:8000/chat/completions"),
        (a_model("https://a.com", "anthropic"), "/v1/messages", "https://a.com/v1/messages"),
        (
            a_model("https://a.com/v1", "anthropic"),
            "/v1/messages/count_tokens",
            "https://a.com/v1/messages/count_tokens",
        ),
        (
            a_model("https://g.com", "gemini"),
            "/v1beta/models/m-1.5:streamGenerateContent",
            "https://g.com/v1beta/models/m-1.5:streamGenerateContent",
        ),
    ],
)
def test_the_models_paths_are_appended_to_the_providers_url(model: ModelSettings, path: str, url: str) -> None:
    assert target(model, path) == url


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/files", "/admin", "/v1/../x/chat/completions", "/x/chat/completions", "/v1/chat/completions/"),
        *("/v1/messages", "/v1beta/models/m:generateContent", "//evil.org/chat/completions"),
    ],
)
def test_every_other_path_is_refused(path: str) -> None:
    assert target(a_model("https://api.openai.com/v1"), path) is None


@pytest.mark.parametrize(
    ("is_stream", "answer", "tokens"),
    [
        (False, {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}, (7, 3)),
        (False, {"usage": {"input_tokens": 7, "output_tokens": 3}}, (7, 3)),
        (False, {"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3}}, (7, 3)),
        (False, {"usage": {"input_tokens": 7, "cache_read_input_tokens": 100, "output_tokens": 3}}, (107, 3)),
        (True, {"response": {"usage": {"input_tokens": 7, "output_tokens": 3}}}, (7, 3)),
        (True, {"message": {"usage": {"input_tokens": 7, "output_tokens": 1}}}, (7, 1)),
        (False, {"usage": {"prompt_tokens": "7", "completion_tokens": -1}}, (0, 0)),
        (False, [1], (0, 0)),
    ],
)
def test_tokens_are_read_from_the_answers_of_every_api(
    is_stream: bool, answer: object, tokens: tuple[int, int]
) -> None:
    usage = Usage()
    reader = AnswerReader(is_stream)
    text = json.dumps(answer)
    for letter in f"data: {text}\n\n" if is_stream else text:
        reader.feed(letter.encode())
    reader.finish(usage)
    assert (usage.calls, usage.input_tokens, usage.output_tokens) == (1, *tokens)
    assert usage.uncounted_calls == (tokens == (0, 0))


def test_a_stream_that_counts_up_is_counted_once() -> None:
    usage, reader = Usage(), AnswerReader(True)
    for output in (1, 5, 9):
        reader.feed(b'data: {"usage": {"input_tokens": 7, "output_tokens": %d}}\n\n' % output)
    reader.finish(usage)
    assert (usage.input_tokens, usage.output_tokens) == (7, 9)


def test_limits_are_exceeded_by_more_than_they_allow() -> None:
    model, usage = a_model("https://x.org"), Usage(1, 100, 20)
    assert exceeded(usage, PlanLimits(tokens=120), model) is None
    assert exceeded(usage, PlanLimits(tokens=119), model) == "budget exceeded: maxPlanTokens is 119 (got 120)"
    assert exceeded(usage, PlanLimits(cost_usd=Decimal("0.0002")), model) is None
    assert exceeded(usage, PlanLimits(cost_usd=Decimal("0.0001")), model) is not None
