"""Response models of the tasks of a run."""

from pydantic import Field

from sisu_pipeline.api.schemas.run_schemas import Count
from sisu_pipeline.contracts.base import Contract
from sisu_pipeline.contracts.sandbox_request import ErrorCode


class TaskView(Contract):
    """The newest result of one task. The complete outputs are artifacts."""

    position: Count
    """Position of the task among the tasks of the run."""
    task_key: str
    """Key of the task."""
    test: str | None
    """Name of the test; null for the task of the command alone, and for a plan that release 0.2.0 compiled."""
    command: str
    """Exact command line."""
    result: str
    """Result in a few words: `passed`, `failed`, `timed out`, `out of memory`, or what failed instead of it."""
    err_code: ErrorCode
    """Result as a code; `NONE` for a task that passed."""
    exit: int
    """Exit code of the command."""
    wall_ms: int = Field(ge=0)
    """Duration of the command in milliseconds."""
    attempt: int
    """Number of the attempt that this is the result of."""
    stdout_tail: str
    """End of the standard output."""
    stderr_tail: str
    """End of the standard error output."""
    stdout_uri: str
    """Address of the complete standard output."""
    stderr_uri: str
    """Address of the complete standard error output."""
    index_uri: str
    """Address of the list of all artifacts of the task."""


class TaskPage(Contract):
    """Tasks that have ended, in their order. `nextAfter` is the next page's `after`; null on the last page."""

    tasks: list[TaskView]
    """Tasks of this page."""
    next_after: int | None
    """Value of `after` for the next page; null on the last one."""
