"""Output: whole characters, one sequence, an honest end."""

import pytest

from resources.sandbox.output_capture import MOST_BYTES, Output
from resources.sandbox.sandbox_port import Chunk


def test_a_character_split_between_reads_stays_whole() -> None:
    chunks: list[Chunk] = []
    output = Output(chunks.append)
    for byte in "aä€😀".encode():
        output.feed("stdout", bytes([byte]))
    output.finish("stdout")
    assert [chunk.chunk for chunk in chunks] == ["a", "ä", "€", "😀"]
    assert [chunk.seq for chunk in chunks] == [0, 1, 2, 3]


def test_both_streams_share_one_sequence() -> None:
    chunks: list[Chunk] = []
    output = Output(chunks.append)
    output.feed("stdout", b"a")
    output.feed("stderr", b"b")
    output.feed("stdout", b"c")
    assert chunks == [Chunk("stdout", "a", 0), Chunk("stderr", "b", 1), Chunk("stdout", "c", 2)]
    assert (output.text("stdout"), output.text("stderr")) == ("ac", "b")


def test_what_no_database_can_hold_is_replaced() -> None:
    output = Output(lambda chunk: None)
    output.feed("stdout", b"a\0b\xff\xe2\x82")
    output.finish("stdout")
    assert output.text("stdout") == "a�b��"


@pytest.mark.parametrize("piece", [1000, 65_536, MOST_BYTES])
def test_a_flood_is_cut_once_and_says_so(piece: int) -> None:
    output = Output(lambda chunk: None)
    for _ in range(3 * MOST_BYTES // piece):
        output.feed("stderr", b"x" * piece)
    output.finish("stderr")
    assert output.text("stderr") == "x" * MOST_BYTES + f"\n[stderr truncated after {MOST_BYTES} bytes]\n"
    assert output.evidence()["stderrTruncated"] is True
    assert output.evidence()["stdoutTruncated"] is False


def test_exactly_the_limit_is_not_cut() -> None:
    output = Output(lambda chunk: None)
    output.feed("stdout", b"x" * MOST_BYTES)
    output.finish("stdout")
    assert output.text("stdout") == "x" * MOST_BYTES


def test_a_broken_listener_does_not_fail_the_task() -> None:
    calls = 0

    def broken(chunk: Chunk) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("nobody is there")

    output = Output(broken)
    output.feed("stdout", b"a")
    output.feed("stdout", b"b")
    assert output.text("stdout") == "ab"
    assert calls == 1
