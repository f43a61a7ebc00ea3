"""`sisu oracle`: check every law against one snapshot of the database."""

from typing import TYPE_CHECKING, Any

import typer

from sisu_pipeline.console.command_output import AsJson, report_failures, to_json_text
from sisu_pipeline.console.exit_codes import FAILED

if TYPE_CHECKING:
    from sisu_pipeline.oracle import Verdict


def oracle(as_json: AsJson = False) -> None:
    """Check every law of the oracle; print the rows that break one and exit 1."""
    with report_failures(as_json) as out:
        from sisu_pipeline.database_server import locate
        from sisu_pipeline.oracle import is_clean, judge
        from sisu_pipeline.settings import settings
        from sisu_pipeline.supervisor.stack_settings import database_settings

        with locate(database_settings(settings())).connect() as connection:
            verdicts = judge(connection)
        clean = is_clean(verdicts)
        document = {"holds": clean, "laws": [_document(verdict) for verdict in verdicts]}
        out.print_result(document, lambda: _as_text(verdicts))
        if not clean:
            raise typer.Exit(FAILED)


def _document(verdict: "Verdict") -> dict[str, Any]:
    return {
        "law": verdict.law,
        "purpose": verdict.purpose,
        "applicable": verdict.applicable,
        "holds": verdict.holds,
        "rows": verdict.rows,
    }


def _as_text(verdicts: list["Verdict"]) -> str:
    lines = []
    for verdict in verdicts:
        mark = "-" if not verdict.applicable else "ok" if verdict.holds else "BROKEN"
        lines.append(f"{mark:<7} {verdict.law}: {verdict.purpose}")
        lines += [f"        {to_json_text(row)}" for row in verdict.rows]
    broken = sum(not verdict.holds for verdict in verdicts)
    lines.append(f"{len(verdicts)} laws, {broken} broken")
    return "\n".join(lines)
