"""The buffered event log stores what the stock event log stores, in the same order, also after failures."""

import threading
import time

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType, EventLogEntry
from dagster._core.events import EngineEventData

from sisu_pipeline.engine import event_batching
from sisu_pipeline.engine.event_batching import BufferedEventLogStorage
from tests.integration.engine import graphs, trials
from tests.integration.engine.conftest import Engine


@pytest.fixture
def log(engine: Engine) -> BufferedEventLogStorage:
    storage = engine.instance.event_log_storage
    assert isinstance(storage, BufferedEventLogStorage)
    return storage


@dg.asset(name="buffered_one", partitions_def=dg.StaticPartitionsDefinition(["p"]), tags={"color": "blue"})
def buffered_one() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 3}, tags={"sort": "warm"})


@dg.asset(name="buffered_two", deps=[buffered_one], partitions_def=dg.StaticPartitionsDefinition(["p"]))
def buffered_two() -> None: ...


def materialize(instance: dg.DagsterInstance) -> str:
    result = dg.materialize([buffered_one, buffered_two], instance=instance, partition_key="p")
    return result.run_id


def an_entry(message: str, step_key: str | None, event: DagsterEvent) -> EventLogEntry:
    return EventLogEntry(  # type: ignore[no-untyped-call]
        None, 20, message, "buffered", time.time(), step_key, "trial", event
    )


def an_event(message: str, step_key: str | None = None) -> EventLogEntry:
    kind = DagsterEventType.ENGINE_EVENT.value
    event = DagsterEvent(kind, "trial", step_key=step_key, event_specific_data=EngineEventData(), message=message)
    return an_entry(message, step_key, event)


def written(log: BufferedEventLogStorage) -> list[str]:
    return [record.user_message for record in log.get_logs_for_run("buffered")]


@pytest.fixture(autouse=True)
def _empty(log: BufferedEventLogStorage) -> None:
    log.delete_events("buffered")


def test_a_buffered_run_stores_the_same_events_per_step_in_the_same_order_as_an_unbuffered_run(
    engine: Engine, log: BufferedEventLogStorage
) -> None:
    def events_by_step(run_id: str) -> dict[str | None, list[str]]:
        found: dict[str | None, list[str]] = {}
        for event in trials.events(engine.instance, run_id):
            found.setdefault(event.step_key, []).append(event.event_type_value)
        return found

    work = trials.job(graphs.retries)
    plain, batched = trials.create(engine.instance, work), trials.create(engine.instance, work)
    trials.drive(engine.instance, work, plain)
    with log.buffered():
        trials.drive(engine.instance, work, batched)
    assert events_by_step(batched) == events_by_step(plain)


def test_ids_increase_in_the_order_of_writing_across_batches_and_threads(log: BufferedEventLogStorage) -> None:
    def write(name: str) -> None:
        for number in range(300):
            log.store_event(an_event(f"{name}-{number}"))

    with log.buffered():
        threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    records = log.get_records_for_run("buffered", ascending=True, limit=2000).records
    ids = [record.storage_id for record in records]
    assert ids == sorted(set(ids))
    texts = [record.event_log_entry.user_message for record in records]
    assert len(texts) == 900
    for name in "abc":
        assert [text for text in texts if text.startswith(name)] == [f"{name}-{number}" for number in range(300)]


def test_all_events_are_written_after_the_block_even_when_its_body_raises(log: BufferedEventLogStorage) -> None:
    with pytest.raises(KeyError), log.buffered():
        log.store_event(an_event("last"))
        raise KeyError
    assert written(log) == ["last"]


def test_a_full_batch_is_written_at_once(log: BufferedEventLogStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_batching, "FLUSH_SECONDS", 3600)
    with log.buffered():
        for number in range(event_batching.LARGEST_BATCH - 1):
            log.store_event(an_event(str(number)))
        assert written(log) == []
        log.store_event(an_event("full"))
        assert len(written(log)) == event_batching.LARGEST_BATCH


def test_a_change_of_run_status_is_written_at_once_after_the_events_before_it(
    log: BufferedEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_batching, "FLUSH_SECONDS", 3600)
    event = DagsterEvent(DagsterEventType.RUN_SUCCESS.value, "trial", message="over")
    with log.buffered():
        log.store_event(an_event("before"))
        log.store_event(an_entry("over", None, event))
        assert written(log) == ["before", "over"]


def test_a_flush_that_fails_once_loses_no_event(
    log: BufferedEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_batching, "FLUSH_SECONDS", 0.01)
    connect = log._connect
    failures = [ConnectionError("gone")]
    failed = threading.Event()

    def flaky() -> object:
        if failures:
            failed.set()
            raise failures.pop()
        return connect()

    with log.buffered():
        monkeypatch.setattr(log, "_connect", flaky)
        log.store_event(an_event("kept"))
        assert failed.wait(10)
    assert written(log) == ["kept"]


def test_the_asset_tables_match_those_of_the_stock_storage_for_the_same_events(
    engine: Engine, log: BufferedEventLogStorage
) -> None:
    def facts() -> dict[str, object]:
        facts_of: dict[str, object] = {}
        for key in (buffered_one.key, buffered_two.key):
            entry = log.get_asset_records([key])[0].asset_entry
            assert entry.last_materialization is not None
            facts_of[str(key)] = (
                entry.last_run_id,
                entry.last_materialization.run_id,
                entry.last_materialization.dagster_event_type,
                sorted(log.get_materialized_partitions(key)),
            )
        tags = log.get_event_tags_for_asset(buffered_one.key, filter_tags={"dagster/partition": "p"})
        return facts_of | {"tags": sorted({name for tag in tags for name in tag})}

    stock = materialize(engine.instance)
    first = facts()
    log.wipe_asset(buffered_one.key)
    log.wipe_asset(buffered_two.key)
    with log.buffered():
        batched = materialize(engine.instance)
    second = facts()
    assert str(second).replace(batched, "run") == str(first).replace(stock, "run")
    for key in (buffered_one.key, buffered_two.key):
        latest = log.get_latest_materialization_events([key])[key]
        assert latest is not None and latest.run_id == batched
