"""The oracle's laws as one asset check per law, on the `execution` asset."""

import json
from collections.abc import Iterator

import dagster as dg

from sisu_pipeline import oracle
from sisu_pipeline.defs.assets import EXECUTION
from sisu_pipeline.workflow.dependencies import dependencies
from sql import oracle as laws


@dg.multi_asset_check(
    name="oracle",
    specs=[dg.AssetCheckSpec(name=law.name, asset=EXECUTION, description=law.purpose) for law in laws()],
    can_subset=True,
    description="Every law of sql/oracle: zero rows when it holds.",
)
def oracle_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Judge all laws in one read-only transaction."""
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
    """Rows as plain JSON: times and other foreign values as text."""
    return dg.MetadataValue.json(json.loads(json.dumps(rows, default=str)))
