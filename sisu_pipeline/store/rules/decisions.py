"""Decisions about plans, before and after they are recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sisu_pipeline.contracts.gate import Channel, Decision
from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.changes.file_diff import FileState


@dataclass(frozen=True)
class PlanDecision:
    """A decision about a run's plan, before it is recorded.

    `plan_sha256` is the hash of the plan the decider read; None means the plan that is open when the decision is
    recorded. `edited_plan` is the plan the approver made of it, and `base_files` are the files of the commit that
    only this version changes, None where there is none. Without `dedupe_key`, the decision's content identifies a
    repetition.
    """

    run_id: str
    decision: Decision
    decided_by: str
    notes: str | None = None
    plan_sha256: str | None = None
    edited_plan: Plan | None = None
    dedupe_key: str | None = None
    channel: Channel = Channel.API
    base_files: Mapping[str, FileState | None] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedDecision:
    """A decision as it is stored, or one approval of several: `given` of the `required` ones.

    `plan_sha256` is None until the gate opens. `record` is the canonical JSON of the decision, for a signature;
    like `channel` it is None for a decision of release 0.2.0.
    """

    run_id: str
    decision: Decision
    decided_by: str
    decided_at: datetime
    notes: str | None
    plan_sha256: str | None
    channel: Channel | None = None
    record: str | None = None
    given: int = 1
    required: int = 1
    approvers: list[str] = field(default_factory=list, hash=False)
    """The people whose approvals the decision counts, the first one first."""

    @property
    def is_final(self) -> bool:
        """True when the run continues with it; False while other approvals are missing."""
        return self.given >= self.required
