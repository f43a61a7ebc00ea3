"""ApplyPatchST: the plan's patches, applied reversibly, and the plan gate."""

from dataclasses import dataclass
from typing import Any

from sisu_pipeline.contracts.sandbox_request import Mode
from sisu_pipeline.contracts.step_outputs import PatchedPlan, PatchOp, Plan, StepId
from sisu_pipeline.domain.canonical import sha256_hex
from sisu_pipeline.steps.step_result import StepResult, json_artifact, nothing_artifact, plan_gate


@dataclass(frozen=True)
class AppliedPatch:
    """A patch as it was applied: hashes are sha256 of raw bytes; no preimage means the file was new.

    No postimage means that the patch deleted the file. `op` is None for a plan of an earlier release.
    """

    index: int
    target_path: str
    preimage_hash: str | None
    postimage_hash: str | None
    diff_hash: str
    op: PatchOp | None = None
    from_path: str | None = None
    old_mode: Mode | None = None
    mode: Mode | None = None


def patched_plan(
    run_id: str,
    plan: Plan,
    plan_sha256: str,
    applied: tuple[AppliedPatch, ...],
    answer: dict[str, Any] | None = None,
) -> StepResult:
    """The plan without its patches, the answer to its question, one artifact per patch, and the plan gate.

    `plan_sha256` is the hash of the complete plan, which the gate asks about.
    """
    output = without_patches(plan, answer).to_json()
    artifacts = tuple(
        json_artifact(
            run_id, StepId.APPLY_PATCH, patch.index, "patch_apply", f"patch-{patch.index}.json", _card(patch)
        )
        for patch in applied
    ) or (nothing_artifact(run_id, StepId.APPLY_PATCH),)
    return StepResult(StepId.APPLY_PATCH, output, artifacts, gate=plan_gate(run_id, plan_sha256))


def without_patches(plan: Plan, answer: dict[str, Any] | None) -> PatchedPlan:
    """The plan as ApplyPatchST hands it on."""
    content = plan.to_json()
    read = {name: content[name] for name in ("goal", "design", "files", "risks", "tests")}
    return PatchedPlan.from_json({**read, "answer": answer})


def diff_hash(diff_text: str) -> str:
    """sha256 of the diff's text."""
    return sha256_hex(diff_text)


def _card(patch: AppliedPatch) -> dict[str, Any]:
    card = {
        "patchIndex": patch.index,
        "targetPath": patch.target_path,
        "preimageHash": patch.preimage_hash,
        "postimageHash": patch.postimage_hash,
        "diffHash": patch.diff_hash,
    }
    if patch.op is None:
        return card
    return {**card, "op": patch.op, "fromPath": patch.from_path, "oldMode": patch.old_mode, "mode": patch.mode}
