"""What is particular about an agent: the environment and the files by which it finds its model.

The name of the program selects the profile. Every agent gets the same key, which is not one: the proxy replaces it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from resources.planner.acp.agent_settings import AgentSettings, ModelSettings

MODEL_PORT = 9917
"""The port inside at which the relay waits for the agent's model calls."""

INNER_HOME = "/home/agent"
PLACEHOLDER = "added-outside"
"""The key inside, which opens nothing."""

_BASE = f"http://127.0.0.1:{MODEL_PORT}"


@dataclass(frozen=True)
class Profile:
    """Variables of the agent's environment, and files below its home."""

    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def profile_of(settings: AgentSettings) -> Profile:
    """The profile of the program that `argv` starts."""
    names = {PurePosixPath(word).name for word in settings.argv[:2]}
    model = settings.model
    if model is None:
        return Profile({**_EVERYWHERE})
    common = {**_EVERYWHERE, **_addresses(model)}
    if "opencode" in names:
        return Profile({**common, **_OPENCODE, "OPENCODE_CONFIG_CONTENT": json.dumps(opencode_config(model))})
    if names & {"codex", "codex-acp"}:
        return Profile(
            {**common, "CODEX_HOME": f"{INNER_HOME}/.codex"}, {".codex/config.toml": _codex_config(model)}
        )
    if names & {"claude", "claude-agent-acp", "claude-code-acp"}:
        settings_file = json.dumps({"permissions": {"defaultMode": "default"}, "model": model.name})
        return Profile(
            {**common, "CLAUDE_CONFIG_DIR": f"{INNER_HOME}/.claude", "ANTHROPIC_MODEL": model.name},
            {".claude/settings.json": settings_file},
        )
    if "gemini" in names:
        return Profile({**common, "GEMINI_CLI_NO_RELAUNCH": "true", "GEMINI_MODEL": model.name})
    return Profile(common)


_EVERYWHERE = {
    "HOME": INNER_HOME,
    "TMPDIR": f"{INNER_HOME}/tmp",  # noqa: S108 - inside the sandbox
    "SHELL": "/bin/bash",
    "NPM_CONFIG_OFFLINE": "true",
    "PYTHONDONTWRITEBYTECODE": "1",
}

# The first four stop requests to the network that an agent without one would wait for; the others keep programs and
# settings of the repository from running.
_OPENCODE = {
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_EXTERNAL_SKILLS": "1",
    "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
    "OPENCODE_DISABLE_CLAUDE_CODE": "1",
}


def opencode_config(model: ModelSettings) -> dict[str, Any]:
    """OpenCode's configuration, which outranks that of a repository.

    Everything inside the sandbox is allowed. `external_directory` is denied here because a request for it and one
    for our tool have the same kind; `continue_loop_on_deny` is set because a refused permission ends the turn
    otherwise.
    """
    package = {
        "openai": "@ai-sdk/openai-compatible",
        "anthropic": "@ai-sdk/anthropic",
        "gemini": "@ai-sdk/google",
    }[model.dialect]
    denied = ("external_directory", "webfetch", "websearch", "task", "skill", "question")
    name = f"sisu/{model.name}"
    return {
        "autoupdate": False,
        "share": "disabled",
        "snapshot": False,
        "lsp": False,
        "formatter": False,
        "enabled_providers": ["sisu"],
        "model": name,
        "small_model": name,
        "permission": {"*": "allow", **dict.fromkeys(denied, "deny")},
        "experimental": {"continue_loop_on_deny": True},
        "provider": {
            "sisu": {
                "npm": package,
                "name": "Sisu",
                "options": {"baseURL": f"{_BASE}/v1", "apiKey": PLACEHOLDER},
                "models": {
                    model.name: {
                        "name": model.name,
                        "tool_call": True,
                        "limit": {"context": 128_000, "output": 16_000},
                    }
                },
            }
        },
    }


def _codex_config(model: ModelSettings) -> str:
    return "\n".join(
        [
            f"model = {json.dumps(model.name)}",
            'model_provider = "sisu"',
            'approval_policy = "never"',
            'sandbox_mode = "danger-full-access"',
            "[model_providers.sisu]",
            'name = "Sisu"',
            f'base_url = "{_BASE}/v1"',
            'wire_api = "responses"',
            "requires_openai_auth = false",
            "",
        ]
    )


def _addresses(model: ModelSettings) -> dict[str, str]:
    match model.dialect:
        case "anthropic":
            return {"ANTHROPIC_BASE_URL": _BASE, "ANTHROPIC_API_KEY": PLACEHOLDER}
        case "gemini":
            return {"GOOGLE_GEMINI_BASE_URL": _BASE, "GEMINI_API_KEY": PLACEHOLDER}
        case "openai":
            return {"OPENAI_BASE_URL": f"{_BASE}/v1", "OPENAI_API_KEY": PLACEHOLDER, "OPENAI_MODEL": model.name}
