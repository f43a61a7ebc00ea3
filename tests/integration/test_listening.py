"""Rows are found at once after a notification, and after a while without one."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from resources import notifications
from resources.database import Connection, Database

CHANNEL = "sisu_test_listening"


def test_a_row_with_a_notification_is_found_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "REREAD_SECONDS", 60.0)
    reads: list[int] = []
    waits = Event()

    def read(_: Connection) -> list[str]:
        reads.append(1)
        if len(reads) > 1:
            return ["found"]
        waits.set()
        return []

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(notifications.wait_for_rows, database, CHANNEL, read, 60.0)
        assert waits.wait(10)
        with database.connect(autocommit=True) as notifier:
            notifier.execute(f"NOTIFY {CHANNEL}")
        assert found.result(10) == ["found"]
    assert len(reads) == 2


def test_a_row_without_a_notification_is_found_by_reading_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "REREAD_SECONDS", 0.01)
    reads: list[int] = []

    def read(_: Connection) -> list[str]:
        reads.append(1)
        return ["found"] if len(reads) > 3 else []

    assert notifications.wait_for_rows(database, CHANNEL, read, 60.0) == ["found"]


def test_nothing_is_returned_after_the_timeout(database: Database) -> None:
    assert notifications.wait_for_rows(database, CHANNEL, lambda _: [], 0.05) == []
