"""A worker's connections are named after its queue, process and version, whatever the version looks like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisu_pipeline.contracts.intent import QueueName
from sisu_pipeline.domain import worker_names
from sisu_pipeline.domain.worker_names import WorkerName

_GIT_SHA = "9ca80205b1d1f0c3a7e4d2b6f8a9c0e1d2f3a4b5"
_EXECUTOR = "host-4711-0123abcd"


def kept_by_postgres(name: str) -> str:
    """The name as Postgres shows it: 63 bytes at most, printable ASCII only."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in name.encode()[:63].decode("latin-1"))


def test_a_short_version_is_part_of_the_name() -> None:
    assert worker_names.connection_name(QueueName.INTENT, _EXECUTOR, "v1") == "sisu-worker intentQ 0123abcd v1"


@pytest.mark.parametrize("version", ["v1", _GIT_SHA, _GIT_SHA * 5, "release 7 of May", "größe", "", "x" * 34])
@pytest.mark.parametrize("queue", [QueueName.INTENT, QueueName.SANDBOX])
def test_the_name_of_a_worker_of_any_version_fits_and_is_read_back(queue: QueueName, version: str) -> None:
    name = worker_names.connection_name(queue, _EXECUTOR, version)
    assert kept_by_postgres(name) == name
    read = worker_names.parse(name)
    assert read == WorkerName(queue, "0123abcd", worker_names.version_label(version))


def test_a_version_that_does_not_fit_is_shown_by_its_beginning_and_a_hash() -> None:
    assert worker_names.version_label(_GIT_SHA) == "9ca80205b1d1f0c3a~b779d53e163c64fe"


@given(st.text(max_size=300), st.text(max_size=300))
def test_two_versions_have_one_label_only_when_they_are_equal(one: str, other: str) -> None:
    assert (worker_names.version_label(one) == worker_names.version_label(other)) == (one == other)


@given(st.text(max_size=300))
def test_the_label_of_a_label_is_itself(version: str) -> None:
    label = worker_names.version_label(version)
    assert worker_names.version_label(label) == label


@pytest.mark.parametrize(
    "name", ["", "psql", "sisu-api", "sisu-worker", "sisu-worker intentQ", "sisu-workers a b c"]
)
def test_the_name_of_no_worker_is_not_read_as_one(name: str) -> None:
    assert worker_names.parse(name) is None
