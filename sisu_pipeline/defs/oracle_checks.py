"""One asset check per law of the oracle, on the `execution` asset."""

import json
from collections.abc import Iterator

import dagster as dg

from sisu_pipeline import oracle
from sisu_pipeline.defs.asset_keys import EXECUTION
from sisu_pipeline.workflow.dependencies import dependencies


@dg.multi_asset_check(
    name="oracle",
    specs=[dg.AssetCheckSpec(name=law.name, asset=EXECUTION, description=law.purpose) for law in oracle.laws()],
    can_subset=True,
    description="The laws of sql/oracle; each returns no rows while it holds.",
)
def oracle_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Evaluate all laws on one snapshot, in a read-only transaction."""
    with dependencies().database.connect() as connection:
        verdicts = oracle.judge(connection)
    selected = {key.name for key in context.selected_asset_check_keys}
    for verdict in verdicts:
        if verdict.law in selected:
            yield dg.AssetCheckResult(
                check_name=verdict.law,
                asset_key=EXECUTION,
                passed=not verdict.rows,
                metadata={"law": verdict.purpose, "rows": _plain(verdict.rows)},
            )


def _plain(rows: object) -> dg.JsonMetadataValue:
    """Rows as plain JSON; times and other values that JSON lacks become text."""
    return dg.MetadataValue.json(json.loads(json.dumps(rows, default=str)))
