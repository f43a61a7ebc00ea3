"""The coding agent that the settings select."""

import asyncio
import os
import shlex
from pathlib import Path
from typing import Protocol

from resources.planner.acp.agent_errors import AgentFailure
from resources.planner.acp.agent_planner import AgentAnswer, AgentPlanner, AgentQuestion
from resources.planner.acp.agent_session import SessionFacts
from resources.planner.acp.agent_settings import AgentSettings, ModelSettings
from resources.planner.acp.playback_planner import PlaybackPlanner
from resources.planner.planner_port import PlannerUnavailable
from resources.sandbox.local.host_instance import remove_dead
from resources.sandbox.sandbox_port import SandboxUnavailable
from sisu_pipeline.settings import Settings
from sisu_pipeline.steps.agent_prompts import chat_prompt
from sisu_pipeline.workflow.dependencies import FIXTURES

CHAT = "chat"
"""The value of `OC_AGENT` for a model without an agent."""

PLAYBACK = "playback"
"""The value of `OC_AGENT` for recorded sessions, which need neither an agent nor a model."""


class QuestionPlanner(Protocol):
    """What answers questions for plans: a coding agent, or a model alone."""

    async def ask(self, question: AgentQuestion) -> AgentAnswer:
        """The answer. Raises QuestionFailed."""
        ...

    async def check(self) -> SessionFacts:
        """Proof that questions can be asked. Raises AgentFailure."""
        ...

    def close(self) -> None:
        """End what still runs."""
        ...


def open_agent(configuration: Settings) -> QuestionPlanner:
    """Open the planner of these settings. Raises PlannerUnavailable."""
    settings = agent_settings(configuration)
    if settings.argv == (CHAT,):
        return _chat(settings)
    if settings.argv == (PLAYBACK,):
        return PlaybackPlanner(settings, FIXTURES)
    try:
        return AgentPlanner(settings)
    except (AgentFailure, SandboxUnavailable) as error:
        raise PlannerUnavailable(str(error)) from error


def remove_leftovers(configuration: Settings) -> None:
    """Remove the sandboxes of planner workers on this machine that were killed: they hold the files of intents."""
    remove_dead(_agents_home(configuration), remembers_interrupted=False)


def check_agent(configuration: Settings) -> SessionFacts:
    """Start the agent, open a session in its sandbox, and end it. Raises PlannerUnavailable."""
    planner = open_agent(configuration)
    try:
        return asyncio.run(planner.check())
    except (AgentFailure, SandboxUnavailable) as error:
        raise PlannerUnavailable(str(error)) from error
    finally:
        planner.close()


def check_planner(configuration: Settings) -> SessionFacts:
    """What `check_agent` does, where an agent makes the plans. Raises PlannerUnavailable, also in `replay`."""
    if not configuration.asks_agent:
        raise PlannerUnavailable("OC_MODE=replay asks no agent, so compileQ has no work: set OC_MODE=live")
    return check_agent(configuration)


def agent_settings(configuration: Settings) -> AgentSettings:
    """The settings of the agent and its model. Raises PlannerUnavailable for what is missing."""
    given = configuration.oc_agent_paths or ""
    try:
        argv = tuple(shlex.split(configuration.oc_agent))
    except ValueError as error:
        raise PlannerUnavailable(f"OC_AGENT={configuration.oc_agent!r} is not a command: {error}") from None
    return AgentSettings(
        argv=argv,
        home=_agents_home(configuration),
        model=None if argv == (PLAYBACK,) else _model(configuration),
        paths=tuple(Path(path).expanduser() for path in given.split(os.pathsep) if path),
        concurrency=configuration.oc_concurrency,
        memory_mb=configuration.oc_memory_mb,
        disk_mb=configuration.oc_disk_mb,
        idle_s=configuration.oc_idle_s,
        wall_s=configuration.oc_wall_s,
    )


def _agents_home(configuration: Settings) -> Path:
    return configuration.home / "agents"


def _chat(settings: AgentSettings) -> QuestionPlanner:
    assert settings.model is not None
    if settings.model.dialect != "openai":
        raise PlannerUnavailable("OC_AGENT=chat requires OC_PROVIDER=openai, the API that most providers offer")
    try:
        from resources.planner.chat_planner import ChatPlanner
    except ImportError as error:
        raise PlannerUnavailable(
            f"OC_AGENT=chat requires the package {error.name}: pip install 'sisu-pipeline[chat]'"
        ) from error
    return ChatPlanner(settings, settings.model, chat_prompt)


def _model(configuration: Settings) -> ModelSettings:
    missing = [name.upper() for name in ("oc_provider_url", "oc_model") if getattr(configuration, name) is None]
    if missing:
        raise PlannerUnavailable(
            f"OC_MODE={configuration.oc_mode} needs a model: set {' and '.join(missing)}, or use OC_MODE=replay"
        )
    assert configuration.oc_provider_url is not None and configuration.oc_model is not None
    return ModelSettings(
        url=configuration.oc_provider_url,
        name=configuration.oc_model,
        key=_key(configuration),
        dialect=configuration.oc_provider,
        input_price=configuration.oc_input_price,
        output_price=configuration.oc_output_price,
    )


def _key(configuration: Settings) -> str:
    if configuration.oc_api_key is not None:
        return configuration.oc_api_key.get_secret_value()
    if configuration.oc_api_key_file is None:
        raise PlannerUnavailable(
            f"OC_MODE={configuration.oc_mode} needs the key of its model's provider: set OC_API_KEY or "
            "OC_API_KEY_FILE"
        )
    try:
        key = Path(configuration.oc_api_key_file).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PlannerUnavailable(f"OC_API_KEY_FILE cannot be read: {error}") from None
    if not key:
        raise PlannerUnavailable(f"OC_API_KEY_FILE {configuration.oc_api_key_file} is empty")
    return key
