"""Each agent gets the address of its model's API and a key that opens nothing; another API is refused."""

import json
from pathlib import Path

import pytest

from resources.planner.acp.agent_errors import AgentFailure
from resources.planner.acp.agent_settings import AgentSettings, Dialect, ModelSettings
from resources.planner.acp.box.agent_profiles import PLACEHOLDER, Profile, profile_of

KEY = "sk-real-0123456789"
AGENTS: list[tuple[tuple[str, ...], Dialect]] = [
    (("opencode", "acp"), "openai"),
    (("opencode", "acp"), "anthropic"),
    (("opencode", "acp"), "gemini"),
    (("/opt/agents/node", "/opt/agents/node_modules/.bin/codex-acp"), "openai"),
    (("claude-agent-acp",), "anthropic"),
    (("node", "/opt/agents/node_modules/.bin/gemini", "--acp"), "gemini"),
    (("other-agent",), "openai"),
]


def profile(argv: tuple[str, ...], dialect: Dialect) -> Profile:
    """The profile of a command whose model is `m`."""
    model = ModelSettings(url="https://models.example/v1", name="m", key=KEY, dialect=dialect)
    return profile_of(AgentSettings(argv=argv, home=Path("agents"), model=model))


@pytest.mark.parametrize(("argv", "dialect"), AGENTS)
def test_an_agent_gets_the_address_inside_and_never_the_key(argv: tuple[str, ...], dialect: Dialect) -> None:
    made = profile(argv, dialect)
    given = json.dumps([dict(made.environment), dict(made.files)])
    assert "http://127.0.0.1:9917" in given and PLACEHOLDER in given
    assert KEY not in given and "models.example" not in given


@pytest.mark.parametrize(
    ("program", "dialect", "required"),
    [
        ("codex-acp", "anthropic", "openai"),
        ("claude-agent-acp", "openai", "anthropic"),
        ("gemini", "openai", "gemini"),
    ],
)
def test_an_agent_with_a_model_of_another_api_is_refused(program: str, dialect: Dialect, required: Dialect) -> None:
    with pytest.raises(AgentFailure, match=f"requires OC_PROVIDER={required} \\(got {dialect}\\)"):
        profile((program,), dialect)
