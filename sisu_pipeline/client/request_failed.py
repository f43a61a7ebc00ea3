"""The one exception of the client."""

from collections.abc import Sequence
from dataclasses import dataclass

UNREACHABLE = "unreachable"
_PASSING_STATUS = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class RequestFailed(Exception):
    """The API refused a request, or it did not answer.

    `str()` is the whole message: the server's sentence, each detail with its JSON pointer, and what to do next.
    """

    message: str
    """The server's sentence, or the reason why there is none."""
    code: str
    """Stable code of the error, for programs: those of `docs/api.md`, `unreachable` or `not_the_api`."""
    status: int | None = None
    """HTTP status; None when the API did not answer."""
    details: Sequence[dict[str, str]] = ()
    """Reasons with the members `pointer`, a JSON pointer into the request (RFC 6901), and `message`."""

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later; every request of this client is safe to repeat."""
        return self.status is None or self.status in _PASSING_STATUS

    @property
    def next_step(self) -> str | None:
        """What to do next; None where the message and its details say so."""
        match self.status:
            case 401:
                return "pass the token of `sisu token create` as `token`"
            case 403:
                return "use a token with the role that the message names"
            case 409:
                return "read the run again, then decide about its current state"
            case 500:
                return "read the log of the API: the cause is there"
        return "try again later" if self.status in _PASSING_STATUS else None

    def __str__(self) -> str:
        lines = [self.message, *(f"  {each['pointer'] or '/'}: {each['message']}" for each in self.details)]
        if self.next_step is not None:
            lines.append(f"Next: {self.next_step}.")
        return "\n".join(lines)
