"""The receivers of notifications that the settings name, each with the channel that its messages leave by."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.message_channels import Channel, Service, Webhook
from sisu_pipeline.contracts.base import ContractInvalid
from sisu_pipeline.contracts.configuration.notification_receivers import Receiver, ReceiverFile
from sisu_pipeline.domain.operator_errors import OperatorError
from sisu_pipeline.settings import Settings


class ReceiversInvalid(OperatorError):
    """The file of receivers cannot be used. The message names the receiver and the remedy, and no secret."""

    code = "notifications"


@dataclass(frozen=True)
class OpenReceiver:
    """A receiver with its channel."""

    receiver: Receiver
    channel: Channel

    @property
    def name(self) -> str:
        """The receiver's name."""
        return self.receiver.name


def open_receivers(settings: Settings) -> list[OpenReceiver]:
    """The receivers of `SISU_NOTIFICATIONS`; none without it. Connects to none. Raises ReceiversInvalid."""
    path = settings.receivers_file
    if path is None:
        return []
    try:
        content = json.loads(_read(path, "SISU_NOTIFICATIONS"), object_pairs_hook=_object)
        listed = ReceiverFile.from_json(content)
    except (ContractInvalid, ValueError, RecursionError) as error:
        raise ReceiversInvalid(f"SISU_NOTIFICATIONS: {path} is not usable: {error}") from None
    return [OpenReceiver(receiver, _channel(receiver, path.parent)) for receiver in listed.receivers]


def _channel(receiver: Receiver, folder: Path) -> Channel:
    """The channel of a receiver; files that it names are relative to the folder of the file that names them."""
    if receiver.webhook is not None:
        secret = receiver.secret or _secret(receiver, "secretFile", folder / (receiver.secret_file or ""))
        return Webhook(receiver.webhook, secret)
    service = Service(receiver.url or _secret(receiver, "urlFile", folder / (receiver.url_file or "")))
    if not service.is_known():
        raise ReceiversInvalid(
            f"SISU_NOTIFICATIONS: the URL of receiver {receiver.name!r} is not one that Apprise can send to: see "
            "https://github.com/caronc/apprise/wiki for its forms"
        )
    return service


def _secret(receiver: Receiver, member: str, path: Path) -> str:
    content = _read(path, f"SISU_NOTIFICATIONS: {member} of receiver {receiver.name!r}").strip()
    if not content:
        raise ReceiversInvalid(f"SISU_NOTIFICATIONS: {member} of receiver {receiver.name!r} is empty: {path}")
    return content


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ReceiversInvalid(f"{what}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ReceiversInvalid(f"{what}: {path} is not UTF-8") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is named twice in one object")
    return members
