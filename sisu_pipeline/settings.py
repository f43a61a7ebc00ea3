"""The only reader of the environment. An unknown name or a malformed value stops the process."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, Self

from pydantic import SecretStr, ValidationError, field_validator, model_validator

from sisu_pipeline.contracts.configuration.address_settings import ALL, AddressSettings
from sisu_pipeline.contracts.configuration.foreign_variables import is_foreign
from sisu_pipeline.contracts.configuration.git_settings import GitSettings
from sisu_pipeline.contracts.configuration.notification_settings import NotificationSettings
from sisu_pipeline.contracts.configuration.planner_settings import PlannerSettings
from sisu_pipeline.contracts.configuration.queue_settings import QueueSettings, setting
from sisu_pipeline.contracts.configuration.setup_settings import SetupSettings
from sisu_pipeline.contracts.configuration.sign_in_settings import SignInSettings
from sisu_pipeline.domain.setting_errors import malformed, unknown_names

_OURS = ("SISU_", "SBX_", "OC_", "INTENT_QUEUE_", "HITL_", "CHAOS_", "DBOS__")
PROJECT_ROOT = Path(__file__).resolve().parent.parent


class Settings(
    GitSettings,
    NotificationSettings,
    PlannerSettings,
    SetupSettings,
    SignInSettings,
    QueueSettings,
    AddressSettings,
):
    """Every setting, by its environment name in lower case."""

    sisu_token: SecretStr | None = setting(
        "Token that the `sisu` commands send to the API.", read_by=["cli"], default=None
    )
    sisu_home: Path = setting(
        "Data folder: embedded Postgres, workspaces, blobs, logs, sockets.", read_by=ALL, default=Path(".sisu")
    )
    database_url: SecretStr | None = setting(
        "Postgres to use, as `postgresql://…`, with one server or a primary and its standbys. Default: the "
        "embedded server in `SISU_HOME`.",
        read_by=ALL,
        default=None,
    )
    dbos__appversion: str = setting(
        "Version of this deployment: new runs keep it, and only workers of the same version take their work.",
        read_by=ALL,
        default="v1",
        min_length=1,
    )

    sisu_profile: Literal["warm", "stock"] = setting(
        "`warm`: queues and workers of this project. `stock`: Dagster's own launcher and executor.",
        read_by=ALL,
        default="warm",
    )
    sisu_step_threads: int = setting(
        "Threads that execute the steps of one Dagster run.", read_by=["intent-worker"], default=160, ge=1, le=1024
    )
    sisu_run_recycle: int = setting(
        "Dagster runs after which a new process replaces an intent worker process.",
        read_by=["intent-worker"],
        default=1000,
        ge=1,
    )
    sisu_blob_store: str | None = setting(
        "Folder or URL for artifact content above 64 KiB. Default: `SISU_HOME/blobs`.",
        read_by=["api", "intent-worker", "sandbox-worker"],
        default=None,
    )

    sbx_mode: Literal["mock", "live"] = setting(
        "`mock` simulates commands; `live` executes them with `SBX_PROVIDER`.",
        read_by=["sandbox-worker", "cli"],
        default="mock",
    )
    sbx_provider: Literal["local", "e2b"] = setting(
        "Provider of `SBX_MODE=live`.", read_by=["sandbox-worker", "cli"], default="local"
    )
    sbx_hard_limits: str | None = setting(
        "Limits that the kernel must enforce in local sandboxes, separated by commas: `cpu`, `disk`, `memory`, "
        "`processes`, `uid`. A worker that cannot does not start.",
        read_by=["sandbox-worker", "cli"],
        since="0.2.0",
        default=None,
    )
    sbx_default_timeout_ms: int = setting(
        "Time limit of a task's command in milliseconds.",
        read_by=["intent-worker", "sandbox-worker"],
        default=300_000,
        ge=1,
    )
    sbx_default_net: bool = setting(
        "Network access of tasks, unless the recipe decides it.",
        read_by=["intent-worker", "sandbox-worker"],
        default=False,
    )
    e2b_api_key: SecretStr | None = setting(
        "API key of E2B; required by `SBX_PROVIDER=e2b`.", read_by=["sandbox-worker", "cli"], default=None
    )
    e2b_api_url: str | None = setting(
        "Another server of E2B's API.", read_by=["sandbox-worker"], default=None, pattern=r"^https?://\S+$"
    )
    e2b_sandbox_url: str | None = setting(
        "Another server of E2B's sandboxes.", read_by=["sandbox-worker"], default=None, pattern=r"^https?://\S+$"
    )
    e2b_deployment: str | None = setting(
        "Label of this deployment's sandboxes; it adopts and kills no others. Default: the name of its database.",
        read_by=["sandbox-worker"],
        default=None,
        min_length=1,
        max_length=100,
    )
    e2b_concurrency: int = setting(
        "Most sandboxes of one worker process at once.", read_by=["sandbox-worker"], default=20, ge=1
    )
    e2b_creates_per_second: float = setting(
        "Most sandboxes that one worker process creates per second.",
        read_by=["sandbox-worker"],
        default=1.0,
        gt=0,
        le=1000,
    )
    e2b_longest_life_s: int = setting(
        "Longest life of a sandbox in seconds.", read_by=["sandbox-worker"], default=3600, ge=60, le=86_400
    )
    hitl_plan_approval_timeout_s: int = setting(
        "Seconds that a gate waits, unless the intent sets its deadline.",
        read_by=["intent-worker"],
        default=3600,
        ge=1,
        le=2_592_000,
    )
    chaos_sleep_execute: int = setting(
        "Milliseconds that each task waits before its command. For labs.",
        read_by=["sandbox-worker"],
        default=0,
        ge=0,
    )
    sisu_crash_at: str | None = setting(
        "Crash points where a process kills itself: names separated by commas, or a folder of files. For tests.",
        read_by=ALL,
        default=None,
    )

    @field_validator(
        "sisu_home",
        "database_url",
        "sisu_blob_store",
        "sisu_token",
        mode="before",
    )
    @classmethod
    def _is_given(cls, value: object) -> object:
        """Reject an empty value, which would mean the working directory or libpq's default server."""
        if value == "":
            raise ValueError("must not be empty; set a value or unset the variable")
        return value

    @field_validator("sbx_hard_limits")
    @classmethod
    def _are_limits(cls, value: str | None) -> str | None:
        unknown = set((value or "cpu").split(",")) - {"cpu", "disk", "memory", "processes", "uid"}
        if unknown:
            raise ValueError(f"must be names out of cpu, disk, memory, processes, uid (got {value!r})")
        return value

    @field_validator("database_url")
    @classmethod
    def _is_a_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql://")
        return value

    @model_validator(mode="after")
    def _agents_have_workers(self) -> Self:
        if self.asks_agent and self.sisu_profile == "stock":
            raise ValueError(f"OC_MODE={self.oc_mode} requires SISU_PROFILE=warm, whose workers ask the agent")
        return self

    @property
    def hard_limits(self) -> frozenset[str]:
        """`SBX_HARD_LIMITS` as names."""
        return frozenset(self.sbx_hard_limits.split(",")) if self.sbx_hard_limits else frozenset()

    @property
    def home(self) -> Path:
        """The data folder, absolute: embedded Postgres, workspaces, blobs, logs."""
        return self.sisu_home.expanduser().resolve()

    @property
    def sandbox_provider(self) -> str:
        """The name of the sandbox provider that these settings select."""
        return "mock" if self.sbx_mode == "mock" else self.sbx_provider

    @property
    def workspaces(self) -> Path:
        """Where each run's workspace folder lies."""
        return self.home / "workspaces"

    @property
    def receivers_file(self) -> Path | None:
        """The file of receivers of notifications, absolute; None without notifications."""
        return None if self.sisu_notifications is None else Path(self.sisu_notifications).expanduser().resolve()

    @property
    def logs(self) -> Path:
        """Where the processes of `sisu start` write their logs."""
        return self.home / "logs"

    @property
    def dagster_home(self) -> Path:
        """The folder of the `dagster.yaml` this profile uses."""
        root = PROJECT_ROOT / "dagster_home"
        return root if self.sisu_profile == "warm" else root / "stock"

    @property
    def code_socket(self) -> Path:
        """The Unix socket of the code server: one per data folder, so stacks never share one."""
        return self.home / "code.sock"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from a given environment (the process's own by default). Raises SettingsError."""
    values = dict(os.environ if environment is None else environment)
    unknown = sorted(
        name for name in values if name.upper().startswith(_OURS) and not _is_known(name, values[name])
    )
    if unknown:
        raise unknown_names(unknown, Settings)
    known = {name.lower(): value for name, value in values.items() if name.lower() in Settings.model_fields}
    try:
        return Settings.model_validate(known)
    except ValidationError as failure:
        raise malformed(Settings, failure) from None


@cache
def settings() -> Settings:
    """This process's settings, read once."""
    return load_settings()


def names_home() -> bool:
    """Whether the environment names the data folder."""
    return "SISU_HOME" in os.environ


def use_home(home: Path, port: int | None = None) -> None:
    """Use this data folder, and this port of the API unless the environment names one, in this process."""
    os.environ["SISU_HOME"] = str(home)
    if port is not None:
        os.environ.setdefault("PORT", str(port))
    settings.cache_clear()


def child_environment(**changes: str) -> dict[str, str]:
    """This process's environment with `changes`, for a process we start."""
    return {**os.environ, **changes}


def name_connections(name: str) -> None:
    """Give every database connection this process opens from now on this `application_name`."""
    os.environ["PGAPPNAME"] = name


def _is_known(name: str, value: str) -> bool:
    return name.lower() in Settings.model_fields or is_foreign(name.upper(), value)
