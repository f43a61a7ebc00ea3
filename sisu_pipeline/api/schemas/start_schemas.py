"""Response models of submissions and starts."""

from typing import Any

from pydantic import Field

from sisu_pipeline.contracts.base import Contract, absent


class IntentSubmitted(Contract):
    """The stored intent."""

    intent_id: str
    """Id of the intent, the hash of its content."""
    is_replay: bool
    """Whether the same content was stored before."""


class KeptField(Contract):
    """A field of a repeated start request that differs from the run, which keeps its first value."""

    field: str
    """Name of the field: `priority`, `timeoutMS`, `deduplicationID` or `taskKey`."""
    requested: int | str
    """The value of this request, which has no effect."""
    kept: int | str | None
    """The value of the run."""


class RunStarted(Contract):
    """The run of an intent. `isReplay` is true if it was started before with the same identity."""

    run_id: str
    """Id of the run."""
    workflow_id: str
    """Id of the workflow, equal to the id of the intent."""
    is_replay: bool
    """Whether the run was started before with the same identity."""
    kept: list[KeptField] | None = Field(default=None, exclude_if=absent)
    """Fields of a repetition that have no effect, because the run keeps its first values."""


class SubmissionSchemas(Contract):
    """The JSON Schemas (draft 2020-12) of what a submission sends."""

    intent: dict[str, Any]
    """Schema of an intent, with every input and constraint that the pipeline itself reads."""
    run: dict[str, Any]
    """Schema of the request that starts its run."""
