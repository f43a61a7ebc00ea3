"""Settings of the addresses: where the servers listen, and where people's browsers find them."""

from typing import Self

from pydantic import BaseModel, model_validator

from sisu_pipeline.contracts.configuration.queue_settings import setting

ALL = ("every process",)
_URL = r"^https?://[^\s\"<>]+$"


class AddressSettings(BaseModel):
    """Ports and addresses, by their environment names in lower case."""

    port: int = setting("Port of the API and the inbox.", read_by=ALL, default=3001, ge=1, le=65535)
    admin_port: int = setting(
        "Port of Dagster's web server.", read_by=["supervisor", "webserver", "api"], default=3002, ge=1, le=65535
    )
    sisu_host: str = setting(
        "Address that the API listens on. An address that other machines reach requires a token.",
        read_by=["api"],
        default="127.0.0.1",
    )
    sisu_public_url: str | None = setting(
        "Base URL of the API and the inbox for people: in links of Dagster's metadata, and where the identity "
        "provider sends people back to. Default: `http://127.0.0.1:PORT`.",
        read_by=["api", "code-server", "intent-worker"],
        since="0.3.0",
        default=None,
        pattern=_URL,
    )
    sisu_api_url: str | None = setting(
        "The former name of `SISU_PUBLIC_URL`.",
        read_by=["api", "code-server", "intent-worker"],
        since="0.2.0",
        default=None,
        pattern=_URL,
    )
    sisu_dagster_url: str | None = setting(
        "Base URL of Dagster's UI: the inbox links to it, and its web server accepts requests under its host "
        "name. Default: `http://127.0.0.1:ADMIN_PORT`.",
        read_by=["api", "webserver"],
        default=None,
        pattern=_URL,
    )

    @model_validator(mode="after")
    def _one_public_address(self) -> Self:
        if None not in (self.sisu_public_url, self.sisu_api_url) and self.sisu_public_url != self.sisu_api_url:
            raise ValueError("SISU_PUBLIC_URL and SISU_API_URL, its former name, differ: remove SISU_API_URL")
        return self

    @property
    def api_url(self) -> str:
        """Where people's browsers find the API and the inbox, without a slash at the end."""
        return (self.sisu_public_url or self.sisu_api_url or f"http://127.0.0.1:{self.port}").rstrip("/")

    @property
    def dagster_url(self) -> str:
        """Where people's browsers find Dagster's own pages, without a slash at the end."""
        return (self.sisu_dagster_url or f"http://127.0.0.1:{self.admin_port}").rstrip("/")
