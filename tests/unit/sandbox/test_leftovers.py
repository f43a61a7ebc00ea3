"""The count of what sandboxes leave sees what is there, or its zero would say nothing."""

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
        process.stdout.readline()  # it has its own command line by now
        yield process.pid
    finally:
        process.communicate(b"\n")


def test_a_sandboxs_process_is_seen(tmp_path: Path) -> None:
    before = sandbox_leftovers.take(tmp_path)
    with a_process(f"{MARK}tmpabc-1") as pid:
        (found,) = [
            name for name in sandbox_leftovers.take(tmp_path).beyond(before)["processes"] if f"{pid} " in name
        ]
    assert found.startswith(f"{pid} ")


def test_a_process_of_the_stack_is_seen(tmp_path: Path) -> None:
    before = sandbox_leftovers.take(tmp_path)
    with a_process(str(tmp_path)) as pid:
        (found,) = sandbox_leftovers.take(tmp_path).beyond(before)["of_the_stack"]
    assert found.startswith(f"{pid} ")


def test_a_folder_is_seen_and_so_is_its_provider(tmp_path: Path) -> None:
    before = sandbox_leftovers.take(tmp_path)
    instance = tmp_path / "sandbox" / "boxes" / "tmpabc"
    (instance / "0-name").mkdir(parents=True)
    found = sandbox_leftovers.take(tmp_path).beyond(before)
    assert found["folders"] == [str(instance / "0-name")]
    assert found["of_the_stack"] == [str(instance)]


def test_what_does_not_go_away_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_leftovers, "_PATIENCE_S", 0.0)
    before = sandbox_leftovers.take(tmp_path)
    (tmp_path / "sandbox" / "boxes" / "tmpabc" / "0-name").mkdir(parents=True)
    assert "folders" in sandbox_leftovers.left(tmp_path, before, stack_lives=True)
    assert "of_the_stack" not in sandbox_leftovers.left(tmp_path, before, stack_lives=True)
