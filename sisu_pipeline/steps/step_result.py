"""The result of a step: its output, its artifacts, and the gate it opens."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sisu_pipeline.contracts.gate import TimeoutOutcome
from sisu_pipeline.contracts.step_outputs import Ask, StepId
from sisu_pipeline.domain.canonical import canonical_json, sha256_hex, sha256_json
from sisu_pipeline.domain.complete_plan import SealedPlan
from sisu_pipeline.domain.identity import artifact_uri, gate_key

NONE_INDEX = 999
PLAN_GATE = "approve-plan"
ASK_GATE = "ask-user"


@dataclass(frozen=True)
class Artifact:
    """An artifact to store. `inline` is JSON; `kind` determines what `sha256` is the hash of."""

    step_id: str
    idx: int
    kind: str
    uri: str
    inline: Any
    sha256: str
    task_key: str = ""
    attempt: int = 1

    @property
    def size_bytes(self) -> int:
        """Length of the inline content's canonical JSON in UTF-8 bytes."""
        return len(canonical_json(self.inline).encode())


@dataclass(frozen=True)
class Gate:
    """A gate that a step opens, about the plan with this hash."""

    key: str
    step_id: str
    purpose: str
    plan_sha256: str
    ttl_s: int | None = None
    """Seconds until its deadline; None for no deadline."""
    on_timeout: TimeoutOutcome = TimeoutOutcome.REJECT
    form: dict[str, Any] | None = None
    """Ask gates: `{question, schema}`."""


@dataclass(frozen=True)
class StepResult:
    """A step's output with everything committed in the same transaction."""

    step: StepId
    output: dict[str, Any]
    artifacts: tuple[Artifact, ...] = ()
    gate: Gate | None = None
    sealed: SealedPlan | None = None
    """CompileST: the complete plan of the compiled one."""
    attempt: int = 1
    is_replay: bool = field(default=False, compare=False)
    started_at: datetime | None = field(default=None, compare=False)


def json_artifact(run_id: str, step: StepId, idx: int, kind: str, name: str, inline: Any) -> Artifact:
    """A step's own artifact, hashed by its canonical JSON."""
    return Artifact(step, idx, kind, artifact_uri(run_id, step, "", name), inline, sha256_json(inline))


def nothing_artifact(run_id: str, step: StepId) -> Artifact:
    """The sentinel artifact of a step without other artifacts: every step stores at least one."""
    uri = artifact_uri(run_id, step, "", "none")
    return Artifact(step, NONE_INDEX, "none", uri, {"text": "none"}, sha256_hex("none"))


def plan_gate(run_id: str, plan_sha256: str) -> Gate:
    """The gate at which a person approves or rejects the plan with this hash."""
    return Gate(plan_gate_key(run_id), StepId.APPLY_PATCH, PLAN_GATE, plan_sha256)


def plan_gate_key(run_id: str) -> str:
    """The key of the run's plan gate, whether it is open yet or not."""
    return gate_key(run_id, StepId.APPLY_PATCH, PLAN_GATE)


def ask_gate(run_id: str, plan_sha256: str, ask: Ask) -> Gate:
    """The gate at which a person answers a question before the patches are applied."""
    key = gate_key(run_id, StepId.COMPILE, ASK_GATE)
    form = {"question": ask.question, "schema": ask.form}
    return Gate(key, StepId.COMPILE, ASK_GATE, plan_sha256, form=form)
