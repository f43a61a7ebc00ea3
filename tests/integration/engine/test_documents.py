"""Postgres executes every SQL statement of the operator's pages, and the settings and files they name exist."""

import re

import pytest

from sisu_pipeline.settings import PROJECT_ROOT, Settings
from tests.integration.engine.intents import Stage

PAGES = ("runbook.md", "scale-out.md")


def statements() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        text = (PROJECT_ROOT / "docs" / page).read_text()
        found += [(page, block.strip()) for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL)]
    return found


def test_the_runbook_contains_the_triage_statement() -> None:
    assert ("runbook.md", "SELECT status, queue_name FROM dbos.workflow_status;") in statements()


@pytest.mark.parametrize(("page", "statement"), statements(), ids=lambda text: re.sub(r"\W+", "-", text)[:60])
def test_a_documented_statement_executes_in_a_read_only_transaction(
    stage: Stage, page: str, statement: str
) -> None:
    stage.request(stage.intent("documented"))
    assert statement.startswith("SELECT") and statement.count(";") == 1
    with stage.dependencies.database.connect() as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        assert connection.execute(statement.encode()).description


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_a_page_names_exists(page: str) -> None:
    text = (PROJECT_ROOT / "docs" / page).read_text()
    named = set(re.findall(r"\b(?:SISU|SBX|OC|DBOS_|INTENT_QUEUE|SBX_QUEUE|HITL)_[A-Z_]+[A-Z]\b", text))
    assert {name for name in named if name.lower() not in Settings.model_fields} == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_links_to_exists(page: str) -> None:
    text = (PROJECT_ROOT / "docs" / page).read_text()
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
    assert [target for target in targets if not (PROJECT_ROOT / "docs" / target).exists()] == []
