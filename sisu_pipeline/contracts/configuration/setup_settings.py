"""Settings of the commands that prepare what tasks need (`inputs.setup`)."""

from pydantic import BaseModel

from sisu_pipeline.contracts.configuration.queue_settings import setting

_READERS = ("api", "intent-worker", "sandbox-worker")
_HOST = r"[a-z0-9]([a-z0-9.\-]*[a-z0-9])?(:[0-9]{1,5})?"


class SetupSettings(BaseModel):
    """Settings of setups, a part of `settings.Settings`."""

    sbx_setup_hosts: str = setting(
        "Hosts that commands of setups with `network` may reach, separated by commas: "
        "`pypi.org`, or `host:8443` for another port than 443. Default: none.",
        read_by=_READERS,
        since="0.3.0",
        default="",
        pattern=rf"^({_HOST}(\s*,\s*{_HOST})*)?$",
    )
    sbx_setup_timeout_ms: int = setting(
        "Time limit of the command of a setup in milliseconds.",
        read_by=_READERS,
        since="0.3.0",
        default=600_000,
        ge=1,
    )
    sbx_setup_disk_mb: int = setting(
        "Most space in MiB that the command of a setup may use.",
        read_by=_READERS,
        since="0.3.0",
        default=2048,
        ge=1,
    )
    sbx_setup_cache_mb: int = setting(
        "Most space in MiB of all prepared setups of a machine; those unused for longest are removed.",
        read_by=["sandbox-worker"],
        since="0.3.0",
        default=10_240,
        ge=1,
    )
