"""A histogram of task durations as text, which any viewer of Markdown shows."""

import itertools
from collections.abc import Sequence

_BINS = 10
_WIDTH = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def markdown(wall_ms: Sequence[int]) -> str:
    """A histogram of durations (ms) with median, 95th percentile and maximum; empty without durations."""
    if not wall_ms:
        return ""
    ordered = sorted(wall_ms)
    lines = [f"{low:>8} – {high:<8} {_bar(count, ordered)} {count}" for low, high, count in bins(ordered)]
    summary = f"median {_quantile(ordered, 0.5)} ms, p95 {_quantile(ordered, 0.95)} ms, max {ordered[-1]} ms"
    return "\n".join(["```", f"ms, {len(ordered)} task(s)", *lines, "```", summary])


def bins(ordered: Sequence[int]) -> list[tuple[int, int, int]]:
    """At most ten equal ranges of whole milliseconds as (from, to, count); `to` is not in the range."""
    low, high = ordered[0], ordered[-1] + 1
    size = -(-(high - low) // _BINS)
    edges = [*range(low, high, size), low + size * -(-(high - low) // size)]
    return [
        (start, end, sum(start <= value < end for value in ordered)) for start, end in itertools.pairwise(edges)
    ]


def _bar(count: int, ordered: Sequence[int]) -> str:
    most = max(count for _, _, count in bins(ordered))
    eighths = round(count / most * _WIDTH * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _quantile(ordered: Sequence[int], share: float) -> int:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
