"""Postgres executes every SQL statement of the documentation, on a database that has work in it."""

import re

import pytest

from sisu_pipeline.contracts.access import Person, Role
from sisu_pipeline.store.access import sessions
from tests.docs_generators.markdown import DOCS
from tests.docs_generators.markdown_page import MarkdownPage
from tests.integration.engine.intents import Stage

PAGES = sorted(DOCS.glob("*.md"))


def statements() -> list[tuple[str, str]]:
    """Every SQL block, with the name of its page."""
    return [
        (page.name, block.text.strip())
        for page in PAGES
        for block in MarkdownPage(page).blocks
        if block.language == "sql"
    ]


def test_the_runbook_contains_the_triage_statement() -> None:
    assert ("runbook.md", "SELECT status, queue_name FROM dbos.workflow_status;") in statements()


@pytest.mark.parametrize(("page", "statement"), statements(), ids=lambda text: re.sub(r"\W+", "-", text)[:60])
def test_a_documented_statement_executes(stage: Stage, page: str, statement: str) -> None:
    stage.request(stage.intent("documented"))
    assert statement.count(";") == 1
    with stage.dependencies.database.connect() as connection:
        ann = Person("ann@example.org", frozenset({Role.VIEWER}))
        sessions.open_session_of(connection, "documented", ann, "127.0.0.1")
        if statement.startswith("SELECT"):
            connection.execute("SET TRANSACTION READ ONLY")
            assert connection.execute(statement.encode()).description
        else:
            assert connection.execute(statement.encode()).rowcount == 1
        connection.rollback()
