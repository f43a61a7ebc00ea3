"""`docs/oracle.md`, made from the files of `sql/oracle/`: `python -m tests.integration.oracle.docs` rewrites it."""

from sisu_pipeline import oracle
from sisu_pipeline.settings import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "oracle.md"

_INTRODUCTION = """# The SQL oracle

What is true is what Postgres says. Each file of `sql/oracle/` is one law: a query that returns no row while the
law holds, and rows a person can read (`detail` says what is wrong) when it is broken. `sisu oracle` runs them all
on one snapshot of the database, read only; the labs, the tests and Dagster's asset checks run the same files.

Laws about DBOS' own table judge the rows that are there: without the table they are *not applicable*, and in the
stock profile, whose runs never pass a queue, there is nothing to judge. A law that must give two commits time to
meet waits half a minute before it speaks.

Every law has a test that breaks it and sees exactly that law say so (`tests/integration/oracle/faults/`).

"""


def page() -> str:
    """The whole page."""
    lines = ["| law | what it means | where it comes from |", "| --- | --- | --- |"]
    for law in oracle.laws():
        link = f"[{law.name}](../sql/oracle/{law.name}.sql)"
        lines.append(f"| {link} | {law.purpose} | {law.source} |")
    return _INTRODUCTION + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
