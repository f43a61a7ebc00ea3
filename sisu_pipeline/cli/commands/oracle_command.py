"""`sisu oracle`: every law, judged on one moment of the database."""

from typing import TYPE_CHECKING, Any

import typer

from sisu_pipeline.console.command_output import AsJson, as_document, speaking
from sisu_pipeline.console.exit_codes import REFUSED

if TYPE_CHECKING:
    from sisu_pipeline.oracle import Verdict


def oracle(as_json: AsJson = False) -> None:
    """Judge every law; exit 1 and the rows when one is broken."""
    with speaking(as_json) as voice:
        from sisu_pipeline.database_server import locate
        from sisu_pipeline.oracle import is_clean, judge
        from sisu_pipeline.settings import settings

        with locate(settings()).connect() as connection:
            verdicts = judge(connection)
        clean = is_clean(verdicts)
        document = {"holds": clean, "laws": [_document(verdict) for verdict in verdicts]}
        voice.say(document, lambda: _words(verdicts))
        if not clean:
            raise typer.Exit(REFUSED)


def _document(verdict: "Verdict") -> dict[str, Any]:
    return {
        "law": verdict.law,
        "purpose": verdict.purpose,
        "applicable": verdict.applicable,
        "holds": verdict.holds,
        "rows": verdict.rows,
    }


def _words(verdicts: list["Verdict"]) -> str:
    lines = []
    for verdict in verdicts:
        mark = "-" if not verdict.applicable else "ok" if verdict.holds else "BROKEN"
        lines.append(f"{mark:<7} {verdict.law}: {verdict.purpose}")
        lines += [f"        {as_document(row)}" for row in verdict.rows]
    broken = sum(not verdict.holds for verdict in verdicts)
    lines.append(f"{len(verdicts)} laws, {broken} broken")
    return "\n".join(lines)
