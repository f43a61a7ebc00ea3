"""What is particular about an agent: the environment and the files by which it finds its model.

The name of the program selects the profile. Every agent gets the same key, which is not one: the proxy replaces it.
Tools that search the web are off: the provider would execute them, outside the sandbox.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from resources.planner.acp.agent_errors import AgentFailure, FailureCode
from resources.planner.acp.agent_settings import AgentSettings, Dialect, ModelSettings

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
    """The profile of the program that `argv` starts. Raises AgentFailure when it cannot use the model's API."""
    names = {PurePosixPath(word).name for word in settings.argv[:2]}
    model = settings.model
    if model is None:
        return Profile({**_EVERYWHERE})
    common = {**_EVERYWHERE, **_addresses(model)}
    if "opencode" in names:
        return Profile({**common, **_OPENCODE, "OPENCODE_CONFIG_CONTENT": json.dumps(opencode_config(model))})
    if names & {"codex", "codex-acp"}:
        _require("Codex", model, "openai")
        return Profile({**common, **_CODEX}, {".codex/config.toml": _codex_config(model)})
    if names & {"claude", "claude-agent-acp", "claude-code-acp"}:
        _require("Claude", model, "anthropic")
        environment = {**common, **_CLAUDE, "ANTHROPIC_MODEL": model.name}
        return Profile(environment, {".claude/settings.json": json.dumps(_claude_settings(model))})
    if "gemini" in names:
        _require("Gemini", model, "gemini")
        environment = {**common, **_GEMINI, "GEMINI_MODEL": model.name}
        return Profile(environment, {".gemini/settings.json": json.dumps(_GEMINI_SETTINGS)})
    return Profile(common)


def _require(agent: str, model: ModelSettings, dialect: Dialect) -> None:
    if model.dialect != dialect:
        raise AgentFailure(
            FailureCode.MODEL,
            f"{agent} requires OC_PROVIDER={dialect} (got {model.dialect}): change it or OC_AGENT",
        )


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


# A second model judges each command in the mode that the adapter starts in, and the agent starts commands in a
# sandbox of its own, which cannot start in this one.
_CODEX = {"CODEX_HOME": f"{INNER_HOME}/.codex", "INITIAL_AGENT_MODE": "agent-full-access"}

# Without the last variable, the tool that takes the plan is not listed to the model but must be searched for.
_CLAUDE = {
    "CLAUDE_CONFIG_DIR": f"{INNER_HOME}/.claude",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "ENABLE_TOOL_SEARCH": "false",
}

# In a folder that is not trusted, no MCP server is started. Without the first variable, the process starts itself
# again and leaves a child when it is killed.
_GEMINI = {"GEMINI_CLI_NO_RELAUNCH": "true", "GEMINI_CLI_TRUST_WORKSPACE": "true"}
_GEMINI_SETTINGS = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    "privacy": {"usageStatisticsEnabled": False},
    "advanced": {"ignoreLocalEnv": True},
    "tools": {"exclude": ["google_web_search", "web_fetch", "enter_plan_mode"]},
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
            'web_search = "disabled"',
            "check_for_update_on_startup = false",
            "[analytics]",
            "enabled = false",
            "[model_providers.sisu]",
            'name = "Sisu"',
            f'base_url = "{_BASE}/v1"',
            'wire_api = "responses"',
            "requires_openai_auth = false",
            "",
        ]
    )


def _claude_settings(model: ModelSettings) -> dict[str, Any]:
    """Claude's settings. In its mode `auto`, a second model would judge each call.

    Denied are the tools that search the web, that change files elsewhere, or that end the turn to continue later.
    """
    denied = ["WebFetch", "WebSearch", "EnterPlanMode", "EnterWorktree", "CronCreate", "ScheduleWakeup"]
    return {"permissions": {"defaultMode": "default", "deny": denied}, "model": model.name}


def _addresses(model: ModelSettings) -> dict[str, str]:
    match model.dialect:
        case "anthropic":
            return {"ANTHROPIC_BASE_URL": _BASE, "ANTHROPIC_API_KEY": PLACEHOLDER}
        case "gemini":
            return {"GOOGLE_GEMINI_BASE_URL": _BASE, "GEMINI_API_KEY": PLACEHOLDER}
        case "openai":
            return {"OPENAI_BASE_URL": f"{_BASE}/v1", "OPENAI_API_KEY": PLACEHOLDER, "OPENAI_MODEL": model.name}
