"""The file of receivers is refused with a sentence that names the receiver and no secret."""

import json
from pathlib import Path
from typing import Any

import pytest

from resources.message_channels import Service, Webhook
from sisu_pipeline.queueing.notification_provider import OpenReceiver, ReceiversInvalid, open_receivers
from sisu_pipeline.settings import load_settings

HOOK = {"name": "hook", "webhook": "https://hook.example", "secret": "s3cret"}
PHONE = {"name": "phone", "url": "ntfy://tok3n@ntfy.example/topic"}


def opened(folder: Path, content: object) -> list[OpenReceiver]:
    file = folder / "receivers.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return open_receivers(load_settings({"SISU_NOTIFICATIONS": str(file)}))


def test_without_a_file_there_are_no_receivers() -> None:
    assert open_receivers(load_settings({})) == []


def test_receivers_have_a_channel_and_by_default_every_event(tmp_path: Path) -> None:
    hook, phone = opened(tmp_path, {"receivers": [HOOK, PHONE]})
    assert hook.channel == Webhook("https://hook.example", "s3cret")
    assert phone.channel == Service("ntfy://tok3n@ntfy.example/topic")
    assert [str(kind) for kind in phone.receiver.events][:2] == ["gate.opened", "gate.reminder"]
    for secret in ("s3cret", "tok3n"):
        assert secret not in repr([hook, phone])


def test_secrets_may_be_in_files_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    (tmp_path / "address").write_text("ntfy://tok3n@ntfy.example/topic\n")
    named = [
        {"name": "hook", "webhook": "https://hook.example", "secretFile": "key"},
        {"name": "phone", "urlFile": str(tmp_path / "address")},
    ]
    hook, phone = opened(tmp_path, {"receivers": named})
    assert hook.channel == Webhook("https://hook.example", "s3cret")
    assert phone.channel == Service("ntfy://tok3n@ntfy.example/topic")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "Expecting value"),
        ('{"receivers": [], "receivers": []}', "a member is named twice"),
        ([], "must be an object"),
        ({"receivers": [HOOK, HOOK]}, "receiver 'hook' is listed more than once"),
        ({"receivers": [{"name": "hook"}]}, "receiver 'hook' must have one of url, urlFile and webhook"),
        ({"receivers": [{**HOOK, **PHONE}]}, "must have one of url, urlFile and webhook"),
        ({"receivers": [{"name": "hook", "webhook": "https://hook.example"}]}, "must have secret or secretFile"),
        ({"receivers": [{**PHONE, "secret": "s3cret"}]}, "must have no secret without a webhook"),
        ({"receivers": [{**HOOK, "webhook": "ftp://s3cret"}]}, "must begin with https:// or http://"),
        ({"receivers": [{**HOOK, "webhook": 5}]}, "receivers[0].webhook must be"),
        ({"receivers": [{**PHONE, "events": ["gate.closed"]}]}, "receivers[0].events[0] must be one of"),
        ({"receivers": [{**PHONE, "events": []}]}, "receivers[0].events must not be empty"),
        ({"receivers": [{**PHONE, "reminderMinutes": 0}]}, "reminderMinutes must be at least 1 (got 0)"),
        ({"receivers": [{**PHONE, "recipe": ["a"]}]}, "did you mean 'recipes'?"),
        ({"receivers": [{**PHONE, "url": "tok3n://s3cret"}]}, "not one that Apprise can send to"),
        ({"receivers": [{"name": "a", "urlFile": "missing"}]}, "urlFile of receiver 'a': cannot read"),
        ({"receivers": [{"name": "a", "urlFile": "empty"}]}, "urlFile of receiver 'a' is empty"),
    ],
)
def test_an_invalid_file_is_refused_with_a_sentence_without_secrets(
    tmp_path: Path, content: object, sentence: str
) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ReceiversInvalid) as refused:
        opened(tmp_path, content)
    message = str(refused.value)
    assert sentence in message
    assert "SISU_NOTIFICATIONS" in message
    assert not any(secret in message for secret in ("s3cret", "tok3n"))


@pytest.mark.parametrize("members", [{"url": 5}, {"secret": 5, "webhook": "https://hook.example"}])
def test_a_secret_of_another_type_is_not_shown(tmp_path: Path, members: dict[str, Any]) -> None:
    with pytest.raises(ReceiversInvalid) as refused:
        opened(tmp_path, {"receivers": [{"name": "a", **members}]})
    assert "(got" not in str(refused.value)
