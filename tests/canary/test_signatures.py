"""Each private symbol in use has the signature, or is of the kind, that this code was written for.

After an upgrade that changes one: read what changed and adapt the code, then write the file again with
`python -m tests.canary.shapes > tests/canary/signatures.txt`.
"""

from pathlib import Path

import pytest
from dagster._core.storage.tags import PARTITION_NAME_TAG

from sisu_pipeline.defs.run_tags import PARTITION_TAG
from tests.canary.private_api import class_names, python_uses
from tests.canary.shapes import shape

PINNED = dict(
    line.split(": ", 1) for line in Path(__file__).with_name("signatures.txt").read_text().splitlines() if line
)


def test_every_private_symbol_in_use_is_pinned() -> None:
    assert {use.symbol for use in {*python_uses(), *class_names()}} == PINNED.keys()


@pytest.mark.parametrize("symbol", PINNED)
def test_the_signature_is_the_pinned_one(symbol: str) -> None:
    assert shape(symbol) == PINNED[symbol]


def test_a_symbol_that_is_gone_has_no_shape() -> None:
    assert shape("dagster._core.events.NoSuchEvent") == "missing"
    assert shape("dagster._no_such_module.name") == "missing"


def test_dagsters_partition_tag_is_the_one_that_sql_and_code_name() -> None:
    assert PARTITION_NAME_TAG == PARTITION_TAG
