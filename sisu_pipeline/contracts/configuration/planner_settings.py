"""Settings of the planner: the mode, the coding agent, and its model."""

from decimal import Decimal
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from sisu_pipeline.contracts.configuration.queue_settings import setting

_ASKS = ("planner-worker", "supervisor", "cli")


class PlannerSettings(BaseModel):
    """How plans are made, by environment names in lower case."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    oc_mode: Literal["replay", "record", "live"] = setting(
        "Planner. `replay`: recorded answers, otherwise the built-in planner. `live`: a coding agent "
        "([agents.md](agents.md)). `record`: as `live`, and its answers and sessions are recorded.",
        read_by=("every process",),
        default="replay",
    )
    oc_agent: str = setting(
        "Command of the coding agent, a server of the Agent Client Protocol on stdin and stdout; or `chat`: the "
        "model alone, which receives the files in its prompt; or `playback`: recorded sessions, without an agent "
        "or a model.",
        read_by=_ASKS,
        since="0.3.0",
        default="opencode acp",
        pattern=r"\S",
    )
    oc_agent_paths: str | None = setting(
        "Files and folders that the agent's sandbox shows read-only, separated by `:`, for agents outside `/usr`.",
        read_by=_ASKS,
        since="0.3.0",
        default=None,
    )
    oc_concurrency: int = setting(
        "Agents that one planner worker runs at once.", read_by=_ASKS, since="0.3.0", default=2, ge=1, le=64
    )
    oc_idle_s: float = setting(
        "Longest silence of an agent in seconds.", read_by=_ASKS, since="0.3.0", default=300, gt=0
    )
    oc_wall_s: float = setting(
        "Longest time of an agent for one plan in seconds.", read_by=_ASKS, since="0.3.0", default=1800, gt=0
    )
    oc_memory_mb: int = setting(
        "Most memory of one agent and its commands in MiB.", read_by=_ASKS, since="0.3.0", default=3072, ge=64
    )
    oc_disk_mb: int = setting(
        "Most space of one agent's working directory and home in MiB.",
        read_by=_ASKS,
        since="0.3.0",
        default=4096,
        ge=64,
    )
    oc_provider: Literal["openai", "anthropic", "gemini"] = setting(
        "API of the model's provider; `openai` is every compatible one.",
        read_by=_ASKS,
        since="0.3.0",
        default="openai",
    )
    oc_provider_url: str | None = setting(
        "Base URL of the model's provider, as `https://api.openai.com/v1`.",
        read_by=_ASKS,
        since="0.3.0",
        default=None,
        pattern=r"^https?://\S+$",
    )
    oc_model: str | None = setting(
        "Name of the model.", read_by=_ASKS, since="0.3.0", default=None, pattern=r"^[\w.:/@-]{1,200}$"
    )
    oc_api_key: SecretStr | None = setting(
        "Key of the model's provider. It never enters the agent's sandbox.",
        read_by=_ASKS,
        since="0.3.0",
        default=None,
    )
    oc_api_key_file: str | None = setting(
        "File that holds this key, instead of `OC_API_KEY`.",
        read_by=_ASKS,
        since="0.3.0",
        default=None,
        min_length=1,
    )
    oc_input_price: Decimal | None = setting(
        "Price of a million input tokens in US dollars, for `maxPlanCostUSD`.",
        read_by=_ASKS,
        since="0.3.0",
        default=None,
        ge=0,
    )
    oc_output_price: Decimal | None = setting(
        "Price of a million output tokens in US dollars.", read_by=_ASKS, since="0.3.0", default=None, ge=0
    )

    @model_validator(mode="after")
    def _one_key_and_both_prices(self) -> Self:
        if self.oc_api_key is not None and self.oc_api_key_file is not None:
            raise ValueError("OC_API_KEY and OC_API_KEY_FILE must not both be set")
        if (self.oc_input_price is None) != (self.oc_output_price is None):
            raise ValueError("OC_INPUT_PRICE and OC_OUTPUT_PRICE must be set together")
        return self

    @property
    def asks_agent(self) -> bool:
        """Whether a coding agent makes the plans."""
        return self.oc_mode != "replay"
