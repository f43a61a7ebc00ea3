"""Dagster's own schema accepts every `dagster.yaml` of the repository; examples are marked as untested."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import Field
from dagster._config import validate_config
from dagster._config.evaluate_value_result import EvaluateValueResult
from dagster._core.instance.config import dagster_instance_config_schema

from sisu_pipeline.settings import PROJECT_ROOT

HOME = PROJECT_ROOT / "dagster_home"
FILES = sorted(HOME.rglob("dagster.yaml"))
EXAMPLES = [HOME / "celery" / "dagster.yaml", HOME / "kubernetes" / "dagster.yaml"]


def identity(path: Path) -> str:
    return str(path.relative_to(HOME))


def test_each_deployment_has_a_dagster_yaml() -> None:
    assert sorted(identity(path.parent) for path in FILES) == [".", "celery", "kubernetes", "stock"]


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_the_file_passes_dagsters_schema(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    schema = dagster_instance_config_schema()
    assert set(document) <= set(schema)
    result: EvaluateValueResult[Any] = validate_config(Field(schema).config_type, document)
    assert result.success, [error.message for error in result.errors or ()]


def test_the_schema_rejects_an_unknown_key() -> None:
    schema = Field(dagster_instance_config_schema()).config_type
    result: EvaluateValueResult[Any] = validate_config(schema, {"run_launchers": {}})
    assert not result.success


@pytest.mark.parametrize("path", EXAMPLES, ids=identity)
def test_an_example_states_that_it_is_untested_and_what_it_needs(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# An example, untested here")
    assert "dagster-k8s" in text or "dagster-celery" in text
    assert "SISU_PROFILE=stock" in text
