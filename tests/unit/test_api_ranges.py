"""Byte ranges (RFC 9110 §14): one range is served, anything else is the whole or a 416."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.api.http.byte_ranges import NotSatisfiable, Part, requested

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-3", Part(0, 3, 10)),
        ("bytes=4-", Part(4, 9, 10)),
        ("bytes=8-100", Part(8, 9, 10)),
        ("bytes=-3", Part(7, 9, 10)),
        ("bytes=-100", Part(0, 9, 10)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-3", None),
        ("bytes=a-b", None),
        (None, None),
    ],
)
def test_one_range_is_a_part_and_anything_else_the_whole(header: str | None, part: Part | None) -> None:
    assert requested(header, None, ETAG, 10) == part


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_a_range_beyond_the_end_is_not_satisfiable(header: str, size: int) -> None:
    with pytest.raises(NotSatisfiable):
        requested(header, None, ETAG, size)


def test_a_range_of_another_content_is_the_whole() -> None:
    assert requested("bytes=4-", '"other"', ETAG, 10) is None
    assert requested("bytes=4-", ETAG, ETAG, 10) == Part(4, 9, 10)


@given(st.binary(min_size=1, max_size=200), st.integers(1, 50))
def test_a_download_resumed_at_every_step_is_the_content(body: bytes, step: int) -> None:
    got = b""
    while len(got) < len(body):
        part = requested(f"bytes={len(got)}-{len(got) + step - 1}", ETAG, ETAG, len(body))
        assert part is not None
        got += part.of(body)
    assert got == body
