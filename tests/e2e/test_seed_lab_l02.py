"""The seed's L02, its second shell word for word; only the port is the stack's own."""

import subprocess
from pathlib import Path

from sisu_pipeline.console.api_client import Api
from sisu_pipeline.proof.harness.lab_stack import LabStack
from tests.e2e.jq import with_jq

L02 = r"""
BASE=http://127.0.0.1:3001
INTENT=$(curl -sS -X POST $BASE/intents -d '{"goal":"demo","inputs":{},"constraints":{}}' | jq -r .intentId)
RUN=$(curl -sS -X POST $BASE/intents/$INTENT/run -d '{"recipeName":"sandbox-default","queuePartitionKey":"tenant-1"}' | jq -r .runId)

# Wait for HITL approval
curl -sS -X POST $BASE/runs/$RUN/approve-plan -d '{"approvedBy":"po"}'
"""


def test_the_seeds_lines_end_in_a_succeeded_run(stack: LabStack, api: Api, tmp_path: Path) -> None:
    lines = L02.replace("http://127.0.0.1:3001", stack.url) + "\necho\necho $RUN\n"
    environment = with_jq(stack.environment, tmp_path)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines], env=environment, capture_output=True, text=True, check=True
    )
    run = done.stdout.splitlines()[-1]
    *_, last = api.run_events(run)
    assert last["status"] == "succeeded"
    assert last["decision"]["decidedBy"] == "po"
