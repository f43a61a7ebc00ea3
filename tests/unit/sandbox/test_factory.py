"""Choosing a provider fails closed."""

from pathlib import Path

import pytest

from resources.sandbox.memory_receipts import MemoryReceipts
from resources.sandbox.sandbox_factory import open_sandbox
from resources.sandbox.sandbox_port import SandboxUnavailable


def test_the_mock_needs_nothing(tmp_path: Path) -> None:
    assert open_sandbox("mock", "local", home=tmp_path, receipts=MemoryReceipts()).name == "mock"


@pytest.mark.parametrize(
    ("mode", "provider", "message"),
    [
        ("dry", "local", "SBX_MODE"),
        ("live", "docker", "SBX_PROVIDER"),
        ("mock", "docker", "SBX_PROVIDER"),
        ("live", "e2b", "E2B_API_KEY"),
    ],
)
def test_what_cannot_be_had_is_refused(tmp_path: Path, mode: str, provider: str, message: str) -> None:
    with pytest.raises(SandboxUnavailable, match=message):
        open_sandbox(mode, provider, home=tmp_path, receipts=MemoryReceipts())
