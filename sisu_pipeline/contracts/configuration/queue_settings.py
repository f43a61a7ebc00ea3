"""The declaration of a setting, and the settings of the two queues."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def setting(meaning: str, *, read_by: Sequence[str], since: str = "0.1.0", **declared: Any) -> Any:
    """A field of `Settings` with its entry in `docs/settings.md`; `read_by` names processes of the stack."""
    return Field(description=meaning, json_schema_extra={"since": since, "read_by": [*read_by]}, **declared)


@dataclass(frozen=True)
class StartLimit:
    """How many intents of one partition may start per period, in seconds."""

    most: int
    period_s: float


class QueueSettings(BaseModel):
    """Limits of the queues, by their environment names in lower case."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    intent_queue_concurrency: int = setting(
        "Segments of one partition that run at once, over all machines; 0: no limit.",
        read_by=["intent-worker"],
        default=50,
        ge=0,
    )
    intent_queue_worker_concurrency: int = setting(
        "Intent worker processes that `sisu start` and `sisu worker` start by default.",
        read_by=["supervisor", "intent-worker"],
        default=5,
        ge=1,
    )
    intent_queue_max_worker_deaths: int = setting(
        "Deaths in a row of workers that executed the same segment, without progress in between, after which its "
        "intent ends as parked.",
        read_by=["intent-worker", "sandbox-worker", "planner-worker", "code-server"],
        default=5,
        ge=1,
    )
    intent_queue_rate_limit_per_period: int = setting(
        "Intents of one partition that start per period; 0: no limit. Work behind a gate and retries are not "
        "counted.",
        read_by=["code-server", "api"],
        default=0,
        ge=0,
    )
    intent_queue_rate_limit_period_sec: float = setting(
        "Length of that period in seconds.", read_by=["code-server", "api"], default=60, gt=0
    )
    sbx_queue_concurrency: int = setting(
        "Tasks of one partition that run at once, over all machines; 0: no limit.",
        read_by=["sandbox-worker"],
        default=50,
        ge=0,
    )
    sbx_queue_worker_concurrency: int = setting(
        "Tasks of one sandbox worker process that run at once.", read_by=["sandbox-worker"], default=10, ge=1
    )
    sbx_queue_rate_limit_per_period: int = setting(
        "Tasks of one partition that start per period, over all machines; 0: no limit.",
        read_by=["sandbox-worker"],
        default=0,
        ge=0,
    )
    sbx_queue_rate_limit_period_sec: float = setting(
        "Length of that period in seconds.", read_by=["sandbox-worker"], default=60, gt=0
    )

    @property
    def start_limit(self) -> StartLimit | None:
        """How many intents of one partition may start per period; None: any number."""
        if not self.intent_queue_rate_limit_per_period:
            return None
        return StartLimit(self.intent_queue_rate_limit_per_period, self.intent_queue_rate_limit_period_sec)
