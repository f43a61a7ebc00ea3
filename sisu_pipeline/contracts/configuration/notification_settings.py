"""Settings of messages to people: the webhook of passed deadlines, and the receivers of notifications."""

from typing import Self

from pydantic import BaseModel, SecretStr, field_validator, model_validator

from sisu_pipeline.contracts.configuration.queue_settings import setting


class NotificationSettings(BaseModel):
    """Settings of messages, a part of `settings.Settings`."""

    sisu_escalation_url: SecretStr | None = setting(
        "Webhook that receives a message about each passed deadline and each pushed branch; requires "
        "`SISU_ESCALATION_SECRET`.",
        read_by=["code-server"],
        default=None,
    )
    sisu_escalation_secret: SecretStr | None = setting(
        "Key of the signature of the webhook's messages.", read_by=["code-server"], default=None
    )
    sisu_notifications: str | None = setting(
        "JSON file that lists the receivers of notifications. Default: no notifications.",
        read_by=["supervisor", "notifier", "cli"],
        since="0.3.0",
        default=None,
    )

    @field_validator("sisu_escalation_url", "sisu_escalation_secret", "sisu_notifications", mode="before")
    @classmethod
    def _is_set(cls, value: object) -> object:
        if value == "":
            raise ValueError("must not be empty; set a value or unset the variable")
        return value

    @model_validator(mode="after")
    def _escalation_is_signed(self) -> Self:
        """Require a key with the webhook: without a signature, its receiver cannot verify a message."""
        if (self.sisu_escalation_url is None) != (self.sisu_escalation_secret is None):
            raise ValueError("SISU_ESCALATION_URL and SISU_ESCALATION_SECRET must be set together")
        url = self.sisu_escalation_url
        if url is not None and not url.get_secret_value().startswith(("https://", "http://")):
            raise ValueError("SISU_ESCALATION_URL must begin with https:// or http://")
        return self
