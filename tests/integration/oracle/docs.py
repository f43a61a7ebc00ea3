"""`docs/oracle.md`, made from the files of `sql/oracle/`: `python -m tests.integration.oracle.docs` rewrites it."""

from sisu_pipeline import oracle
from sisu_pipeline.settings import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "oracle.md"

_INTRODUCTION = """# The SQL oracle

The rows in Postgres are the source of truth. Each file of `sql/oracle/` is one law: a query that returns no rows
while the law holds, and one row per violation otherwise, with a description in the column `detail`. `sisu oracle`
evaluates all laws on one read-only snapshot of the database; the labs, the tests and Dagster's asset checks use
the same files.

Laws about DBOS's table are *not applicable* while the table does not exist, and hold trivially in the portable
profile, whose runs use no queues. A law about two commits that may be half a minute apart ignores violations
younger than that.

Every law has a test that violates it and expects exactly that law to report it
(`tests/integration/oracle/faults/`).

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
