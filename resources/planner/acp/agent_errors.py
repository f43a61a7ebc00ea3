"""Failures of a question to an agent: what happened, and whether another try can succeed."""

from enum import StrEnum

from sisu_pipeline.domain.failure_kind import FailureKind
from sisu_pipeline.domain.plain_json import plain_text


class FailureCode(StrEnum):
    """The kind of a failure, stored with it."""

    MISSING = "agent_missing"
    ENDED = "agent_ended"
    SILENT = "agent_silent"
    IDLE = "agent_idle"
    TOO_LONG = "agent_too_long"
    PROTOCOL = "agent_protocol"
    ERROR = "agent_error"
    SIGNED_OUT = "agent_signed_out"
    REFUSED = "agent_refused"
    NO_TOOL = "tool_not_listed"
    NO_PLAN = "no_plan"
    NOT_RECORDED = "not_recorded"
    CHANGES = "changes_refused"
    MEMORY = "memory_exceeded"
    DISK = "disk_exceeded"
    BUDGET = "budget_exceeded"
    MODEL = "model_error"
    BOX = "box_failed"
    CANCELED = "canceled"


_PASSING = frozenset(
    {
        FailureCode.ENDED,
        FailureCode.SILENT,
        FailureCode.IDLE,
        FailureCode.ERROR,
        FailureCode.NO_TOOL,
        FailureCode.BOX,
    }
)


class AgentFailure(Exception):
    """The agent gave no plan. The message is a sentence for the operator."""

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(plain_text(message))
        self.code = code

    @property
    def failure_kind(self) -> FailureKind:
        """Passing when a new process may succeed; any other failure would repeat itself."""
        return FailureKind.PASSING if self.code in _PASSING else FailureKind.PERMANENT
