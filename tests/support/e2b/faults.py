"""What goes wrong, and how often: counted, not random, so that a test knows what to expect."""

from dataclasses import dataclass


@dataclass
class Faults:
    """Settable while the server runs. `every` N: the Nth, 2Nth … time; 0: never."""

    max_concurrent: int = 10_000
    creates_per_second: float = 10_000
    next_creates_429: int = 0
    next_creates_500: int = 0
    next_creates_503: int = 0
    next_requests_429: int = 0
    slow_create_s: float = 0
    # The sandbox is there, its reply is not.
    lose_create_reply_every: int = 0
    # Whether a create with a known Idempotency-Key answers with the sandbox it made.
    honours_idempotency: bool = True
    # The sandbox dies this long after its command began: connection cut, or left open and silent.
    vanish_every: int = 0
    hang_every: int = 0
    vanish_after_s: float = 0.05
    # The stream is cut after its first output; the command goes on.
    half_stream_every: int = 0
    # Nobody sees the reply to Start.
    lose_start_reply_every: int = 0
    next_downloads_500: int = 0
    next_uploads_500: int = 0

    def take(self, name: str) -> bool:
        """Use up one of the next N; False when none is left."""
        left = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return bool(left > 0)

    def hits(self, name: str, number: int) -> bool:
        """Whether the number-th (from 1) is one that goes wrong."""
        every = getattr(self, name)
        return bool(every and number % every == 0)


class Bucket:
    """E2B's creation limit: so many per second, as many at once."""

    def __init__(self) -> None:
        self._level = 0.0
        self._at = 0.0

    def admits(self, rate: float, now: float) -> bool:
        """Whether one more is allowed at this time (seconds)."""
        self._level = max(0.0, self._level - (now - self._at) * rate)
        self._at = now
        if self._level + 1 > max(1.0, rate):
            return False
        self._level += 1
        return True
