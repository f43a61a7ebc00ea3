"""Settings of the e2b provider, in a module that does not import the SDK."""

from dataclasses import dataclass


@dataclass(frozen=True)
class E2bSettings:
    """Address and limits of the E2B account; times in seconds.

    `deployment` marks our sandboxes among all that use the same key: no others are ever killed.
    `api_url` and `sandbox_url` name other servers of the protocol (not supported by e2b 3).
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
