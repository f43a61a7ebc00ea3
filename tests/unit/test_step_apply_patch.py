"""ApplyPatchST: the plan without its patches, a card per patch, and the gate."""

from sisu_pipeline.contracts.step_outputs import Plan
from sisu_pipeline.domain.canonical import sha256_hex, sha256_json
from sisu_pipeline.steps.apply_patch import AppliedPatch, diff_hash, patched_plan

RUN = "run_42db556554a7e6f9ec58fc38b780e8f0"
BARE = {"goal": "g", "design": ["d"], "files": ["f"], "risks": ["r"], "tests": ["t"]}
HASH = "5" * 64
PATCH = {"targetPath": "a.txt", "postimageContent": "new", "diffText": "+new"}


def test_without_patches_the_output_is_the_plan_and_the_artifact_says_none() -> None:
    result = patched_plan(RUN, Plan.from_json(BARE), HASH, ())
    assert result.output == BARE
    (nothing,) = result.artifacts
    assert (nothing.idx, nothing.kind, nothing.inline) == (999, "none", {"text": "none"})
    assert nothing.sha256 == sha256_hex("none")


def test_every_patch_leaves_a_card_in_its_order() -> None:
    applied = tuple(AppliedPatch(i, f"{i}.txt", None if i else "0" * 64, "1" * 64, "2" * 64) for i in range(3))
    result = patched_plan(RUN, Plan.from_json({**BARE, "patchPlan": [PATCH] * 3}), HASH, applied)
    assert "patchPlan" not in result.output
    assert [card.idx for card in result.artifacts] == [0, 1, 2]
    assert [card.inline["preimageHash"] for card in result.artifacts] == ["0" * 64, None, None]
    assert [card.uri.rpartition("/")[2] for card in result.artifacts] == [
        "patch-0.json",
        "patch-1.json",
        "patch-2.json",
    ]
    assert all(card.sha256 == sha256_json(card.inline) for card in result.artifacts)


def test_the_gate_asks_about_the_complete_plan() -> None:
    gate = patched_plan(RUN, Plan.from_json(BARE), HASH, ()).gate
    assert gate is not None
    assert (gate.key, gate.plan_sha256) == ("approve-plan-c41e0986be3be693", HASH)


def test_a_diff_is_hashed_as_its_text() -> None:
    assert diff_hash("none") == sha256_hex("none")
