"""The tools of chaos: a file system that is full for a while, and clocks of single processes that are wrong."""

import errno
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sisu_pipeline.proof.harness.limited_disk import LimitedDisk, NoLimitedDisk, limited_disk
from sisu_pipeline.proof.harness.stepped_clocks import SteppedClocks, stepped_clocks
from sisu_pipeline.settings import PROJECT_ROOT, child_environment

SIZE = 8 * 2**20
HOUR_S = 3600
# A process prints its wall clock for each line it reads. After `fork` its child does, until `exit`.
CLOCK = """
import os, sys, time
while line := sys.stdin.readline().strip():
    if line == "exit":
        os._exit(0)
    if line == "fork" and os.fork() > 0:
        os.wait()
    before = time.monotonic()
    time.sleep(0.01)
    assert 0 < time.monotonic() - before < 60
    print(time.time(), flush=True)
"""


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[tuple[ExitStack, LimitedDisk]]:
    with ExitStack() as held:
        try:
            yield held, held.enter_context(limited_disk(tmp_path / "data", SIZE))
        except NoLimitedDisk as refusal:
            pytest.skip(str(refusal))


def test_a_limited_disk_is_full_for_a_while_and_its_content_stays(
    mounted: tuple[ExitStack, LimitedDisk],
) -> None:
    held, disk = mounted
    (disk.folder / "before").write_bytes(b"1" * 10_000)
    with disk.full(), pytest.raises(OSError, match=r".") as refused:
        (disk.folder / "during").write_bytes(b"2" * 10_000)
    assert refused.value.errno == errno.ENOSPC
    (disk.folder / "after").write_bytes(b"3" * (SIZE // 2))
    assert disk.folder.is_mount()
    held.close()
    assert not disk.folder.is_mount()
    assert {path.name for path in disk.folder.iterdir()} == {"before", "during", "after"}
    assert (disk.folder / "before").read_bytes() == b"1" * 10_000


@pytest.fixture
def clocks() -> Iterator[SteppedClocks]:
    with stepped_clocks() as found:
        if found is None:
            pytest.skip("libfaketime is not installed")
        yield found


@pytest.fixture
def process(clocks: SteppedClocks) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        (sys.executable, "-c", CLOCK),
        env=child_environment(**clocks.variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        yield running
        running.kill()


@pytest.mark.parametrize("offset_s", [3 * HOUR_S, -3 * HOUR_S])
def test_one_process_has_a_wrong_clock_until_it_is_corrected(
    clocks: SteppedClocks, process: subprocess.Popen[str], offset_s: int
) -> None:
    began = time_of(process)
    clocks.step([process.pid], offset_s, seconds=60)
    wait_for_difference(process, began + offset_s)
    time_of(process, "fork")
    wait_for_difference(process, began)  # the child has a clock of its own
    assert abs(time_of(process, "exit") - began) > HOUR_S
    clocks.correct()
    assert abs(time_of(process) - began) > HOUR_S, "its time is not up"
    clocks.correct(everything=True)
    wait_for_difference(process, began)


# What the daemon does beside its work.
WATCH = """
import sys, threading
from resources import clock_watch
clock_watch.end_when_set_back("daemon")
print("watching", flush=True)
sys.stdin.readline()
"""


def test_a_watched_process_ends_when_its_clock_is_set_back(clocks: SteppedClocks) -> None:
    with subprocess.Popen(
        (sys.executable, "-c", WATCH),
        env=child_environment(**clocks.variables),
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watched:
        assert watched.stdout is not None and watched.stderr is not None
        assert watched.stdout.readline() == "watching\n"
        clocks.step([watched.pid], -3 * HOUR_S, seconds=60)
        assert watched.wait(timeout=60) == 1
        assert re.fullmatch(r"the clock was set back by 1\d{4} s: the daemon ends, .*\n", watched.stderr.read())


def time_of(process: subprocess.Popen[str], line: str = "tell") -> float:
    """The time by the clock of a process."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def wait_for_difference(process: subprocess.Popen[str], expected: float) -> None:
    """Ask a process for its time until it is about the expected one; the test's own time limit ends it."""
    while abs(time_of(process) - expected) > HOUR_S:
        pass
