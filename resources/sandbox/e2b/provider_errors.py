"""What the SDK's errors mean: by type and status, in the order their classes overlap, never by their text."""

from enum import StrEnum

import e2b
import httpx
from connectrpc.errors import ConnectError

from sisu_pipeline.contracts.sandbox_request import ErrorCode


class Cause(StrEnum):
    """Why a call failed, as far as it matters to what is done next."""

    QUOTA = "quota"
    """429: wait, it costs nothing."""
    GONE = "gone"
    """The sandbox is no more."""
    OFFLINE = "offline"
    """No connection: nothing can have happened."""
    UNKNOWN = "unknown"
    """The reply is missing: it may have happened."""
    BUSY = "busy"
    """5xx: E2B's own trouble; it may have happened."""
    REFUSED = "refused"
    """4xx: it will never work."""
    DENIED = "denied"
    """401: the key."""
    FULL = "full"
    """The sandbox's disk is full."""
    BROKEN = "broken"
    """Ours."""


class Phase(StrEnum):
    """What was being done."""

    BOOT = "boot"
    UPLOAD = "upload"
    COMMAND = "command"
    DOWNLOAD = "download"


class Failed(Exception):
    """The infrastructure could not do its part; the task is tried again."""

    def __init__(self, phase: Phase, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.phase = phase
        self.cause = cause

    @property
    def err_code(self) -> ErrorCode:
        """The one table from what happened to the contract's code (docs/sandboxes.md)."""
        if self.phase is Phase.DOWNLOAD:
            return ErrorCode.DOWNLOAD_FAIL
        if self.cause is Cause.GONE:
            return ErrorCode.BOOT_FAIL
        if self.phase is Phase.UPLOAD:
            return ErrorCode.UPLOAD_FAIL
        return ErrorCode.NET_FAIL if self.cause in (Cause.OFFLINE, Cause.UNKNOWN) else ErrorCode.BOOT_FAIL


# The order is the point: a class before those it derives from (e2b 2.63).
_BY_TYPE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Cause], ...] = (
    (e2b.RateLimitException, Cause.QUOTA),
    ((e2b.SandboxNotRunningException, e2b.SandboxNotFoundException), Cause.GONE),
    (e2b.TimeoutException, Cause.UNKNOWN),
    (e2b.NotEnoughSpaceException, Cause.FULL),
    (e2b.AuthenticationException, Cause.DENIED),
    (e2b.ServiceBusyException, Cause.BUSY),
    ((e2b.InvalidArgumentException, e2b.TemplateException, e2b.NotFoundException), Cause.REFUSED),
    ((httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout), Cause.OFFLINE),
    ((httpx.TransportError, ConnectError, OSError), Cause.UNKNOWN),
)


def cause_of(error: Exception) -> Cause:
    """Why an SDK call failed. A command's own exit (`CommandExitException`) is no failure and not asked here."""
    for types, cause in _BY_TYPE:
        if isinstance(error, types):
            return cause
    if isinstance(error, e2b.SandboxException):
        return _by_status(error.status_code)
    # The SDK raises the bare class where a reply has no body, and where a stream ends without an end event.
    return Cause.UNKNOWN if type(error) is Exception else Cause.BROKEN


def _by_status(status: int | None) -> Cause:
    if status is None:
        return Cause.UNKNOWN
    return Cause.BUSY if status >= 500 else Cause.REFUSED
