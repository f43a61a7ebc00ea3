"""The inventory of leftovers finds what exists; otherwise its zero would prove nothing."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from resources.sandbox.local.sandbox_host import MARK
from sisu_pipeline.proof.bench import sandbox_leftovers


@contextmanager
def a_process(*words: str) -> Iterator[int]:
    """A process with these words on its command line."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "print(flush=True); input()", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()  # the process has its own command line by now
        yield process.pid
    finally:
        process.communicate(b"\n")


def test_a_process_of_a_sandbox_is_found(tmp_path: Path) -> None:
    before = sandbox_leftovers.take_inventory(tmp_path)
    with a_process(f"{MARK}tmpabc-1") as pid:
        (found,) = [
            name
            for name in sandbox_leftovers.take_inventory(tmp_path).added_since(before)["processes"]
            if f"{pid} " in name
        ]
    assert found.startswith(f"{pid} ")


def test_a_process_of_the_stack_is_found(tmp_path: Path) -> None:
    before = sandbox_leftovers.take_inventory(tmp_path)
    with a_process(str(tmp_path)) as pid:
        (found,) = sandbox_leftovers.take_inventory(tmp_path).added_since(before)["of_the_stack"]
    assert found.startswith(f"{pid} ")


def test_a_working_folder_and_its_providers_folder_are_found(tmp_path: Path) -> None:
    before = sandbox_leftovers.take_inventory(tmp_path)
    instance = tmp_path / "sandbox" / "boxes" / "tmpabc"
    (instance / "0-name").mkdir(parents=True)
    found = sandbox_leftovers.take_inventory(tmp_path).added_since(before)
    assert found["folders"] == [str(instance / "0-name")]
    assert found["of_the_stack"] == [str(instance)]


def test_what_does_not_disappear_is_a_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_leftovers, "_TIMEOUT_S", 0.0)
    before = sandbox_leftovers.take_inventory(tmp_path)
    (tmp_path / "sandbox" / "boxes" / "tmpabc" / "0-name").mkdir(parents=True)
    assert "folders" in sandbox_leftovers.find_leftovers(tmp_path, before, stack_is_running=True)
    assert "of_the_stack" not in sandbox_leftovers.find_leftovers(tmp_path, before, stack_is_running=True)
