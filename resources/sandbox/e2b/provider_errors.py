"""Classification of the SDK's errors by type and status, never by their text."""

from enum import StrEnum

import e2b
import httpx
from connectrpc.errors import ConnectError

from sisu_pipeline.contracts.sandbox_request import ErrorCode


class Cause(StrEnum):
    """Why a call failed, as far as it determines what is done next."""

    QUOTA = "quota"
    """429: wait and repeat."""
    GONE = "gone"
    """The sandbox no longer exists."""
    OFFLINE = "offline"
    """No connection: the call had no effect."""
    UNKNOWN = "unknown"
    """No reply: the call may have had its effect."""
    BUSY = "busy"
    """5xx: an error of E2B; the call may have had its effect."""
    REFUSED = "refused"
    """4xx: the call is permanently invalid."""
    DENIED = "denied"
    """401: the API key is invalid."""
    FULL = "full"
    """The sandbox's disk is full."""
    BROKEN = "broken"
    """An error of this provider."""


class Phase(StrEnum):
    """The phase of an attempt in which an error occurred."""

    BOOT = "boot"
    UPLOAD = "upload"
    COMMAND = "command"
    DOWNLOAD = "download"


class Failed(Exception):
    """The infrastructure failed; the task is retried."""

    def __init__(self, phase: Phase, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.phase = phase
        self.cause = cause

    @property
    def err_code(self) -> ErrorCode:
        """The contract's error code for a cause and a phase (docs/sandboxes.md)."""
        if self.phase is Phase.DOWNLOAD:
            return ErrorCode.DOWNLOAD_FAIL
        if self.cause is Cause.GONE:
            return ErrorCode.BOOT_FAIL
        if self.phase is Phase.UPLOAD:
            return ErrorCode.UPLOAD_FAIL
        return ErrorCode.NET_FAIL if self.cause in (Cause.OFFLINE, Cause.UNKNOWN) else ErrorCode.BOOT_FAIL


# The order matters: a class comes before those it derives from (e2b 2.63).
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
    """The cause of an SDK error other than `CommandExitException`, which is a command's own exit."""
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
