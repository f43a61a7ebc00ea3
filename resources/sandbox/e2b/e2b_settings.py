"""The knobs of the e2b provider, apart from the SDK: whoever only chooses a provider does not import it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class E2bSettings:
    """How to reach E2B and what the plan allows; times in seconds.

    `deployment` tells our sandboxes from those of others that use the same key: only ours are ever killed.
    `api_url` and `sandbox_url` are for other servers of the protocol (and go away with e2b 3).
    """

    api_key: str
    deployment: str
    api_url: str | None = None
    sandbox_url: str | None = None
    concurrency: int = 20
    creates_per_second: float = 1.0
    longest_life_s: int = 3600
    check_s: float = 10.0
    sweep_s: float = 30.0
    request_timeout_s: float = 30.0
