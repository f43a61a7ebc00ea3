"""The artifact that records a broken budget."""

from sisu_pipeline.domain.budget import SCOPE, Violation
from sisu_pipeline.domain.canonical import sha256_json
from sisu_pipeline.domain.identity import artifact_uri
from sisu_pipeline.steps.step_result import Artifact

STEP = "BUDGET"

_UNITS = {
    "maxFanout": "count",
    "maxSBXMinutes": "minutes",
    "maxArtifactsMB": "mb",
    "maxRetriesPerStep": "retries",
    "maxWallClockMS": "ms",
}


def budget_evidence(run_id: str, retry: int, violation: Violation) -> Artifact:
    """The BUDGET artifact; each retry of the run that breaks a limit leaves its own."""
    inner = {
        "kind": "budget",
        "metric": violation.metric,
        "scope": SCOPE,
        "limit": violation.limit,
        "observed": violation.observed,
        "unit": _UNITS[violation.metric],
        "outcome": "blocked",
        "reason": violation.reason,
    }
    name = f"{violation.metric}.json" if retry == 0 else f"{violation.metric}-{retry}.json"
    uri = artifact_uri(run_id, STEP, violation.metric, name)
    return Artifact(STEP, retry, "json_diagnostic", uri, {"json": inner}, sha256_json(inner), violation.metric)
