"""What tests of the planner share: a scripted model, and settings of an agent that plays a script."""

import json
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from resources.planner.acp.agent_settings import AgentSettings, ModelSettings
from tests.support.acp import scripted_model
from tests.support.acp.scripted_model import KEY, ScriptedModel

AGENT = Path(scripted_model.__file__).with_name("scripted_agent.py")


@pytest.fixture(scope="session")
def model() -> Iterator[ScriptedModel]:
    """A scripted model's provider."""
    with scripted_model.running_model() as running:
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every uid can pass through, as the data folder of a deployment may be."""
    with tempfile.TemporaryDirectory(prefix="sisu-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def model_settings(model: ScriptedModel, **others: Any) -> ModelSettings:
    """Settings of the scripted model, at one dollar per million input tokens and five per million output tokens."""
    values = {"url": model.url, "name": "m", "key": KEY, "input_price": Decimal(1), "output_price": Decimal(5)}
    return ModelSettings(**{**values, **others})


def scripted_settings(folder: Path, script: dict[str, Any], **others: Any) -> AgentSettings:
    """Settings of an agent that plays the script."""
    file = folder / "script.json"
    file.write_text(json.dumps(script))
    file.chmod(0o644)
    return AgentSettings(
        **{
            "argv": ("python3", str(AGENT), str(file)),
            "home": folder / "agents",
            "paths": (AGENT, file),
            "start_s": 20,
            "idle_s": 20,
            **others,
        }
    )
