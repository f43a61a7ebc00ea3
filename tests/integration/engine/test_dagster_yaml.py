"""Every `dagster.yaml` we ship is one Dagster's own schema accepts; the examples say that they are examples."""

from pathlib import Path

import pytest
import yaml
from dagster import Field
from dagster._config import validate_config
from dagster._core.instance.config import dagster_instance_config_schema

from sisu_pipeline.settings import PROJECT_ROOT

HOME = PROJECT_ROOT / "dagster_home"
FILES = sorted(HOME.rglob("dagster.yaml"))
EXAMPLES = [HOME / "celery" / "dagster.yaml", HOME / "kubernetes" / "dagster.yaml"]


def identity(path: Path) -> str:
    return str(path.relative_to(HOME))


def test_there_is_one_per_way_to_run() -> None:
    assert sorted(identity(path.parent) for path in FILES) == [".", "celery", "kubernetes", "stock"]


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_dagsters_schema_accepts_the_file(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    schema = dagster_instance_config_schema()
    assert set(document) <= set(schema)
    answer = validate_config(Field(schema).config_type, document)
    assert answer.success, [error.message for error in answer.errors or ()]


def test_the_schema_refuses_a_key_it_does_not_know() -> None:
    answer = validate_config(Field(dagster_instance_config_schema()).config_type, {"run_launchers": {}})
    assert not answer.success


@pytest.mark.parametrize("path", EXAMPLES, ids=identity)
def test_an_example_says_that_it_is_untested_and_what_it_needs(path: Path) -> None:
    words = path.read_text()
    assert words.startswith("# An example, untested here")
    assert "dagster-k8s" in words or "dagster-celery" in words
    assert "SISU_PROFILE=stock" in words
