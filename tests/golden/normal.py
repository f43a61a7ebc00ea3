"""What differs between two runs of the same intent is taken out: times, drawn ids, the name of the database."""

import re
from typing import Any

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

_DEPLOYMENT = re.compile(r'(?<="deployment":")[^"]+')


def normal(value: Any) -> Any:
    """The same JSON value, with `<time>` for times and `<id 1>`, `<id 2>` … for drawn ids, by their appearance.

    `<deployment>` stands for the name of the database in the record of a decision.

    Hashes stay, and so do the ids and keys that are derived from them: what they are made of may not change.
    Times are not distinguished: two of them may or may not fall into one millisecond.
    """
    return _without(value, {})


def _without(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(member, ids) for name, member in value.items()}
    if isinstance(value, list):
        return [_without(member, ids) for member in value]
    if isinstance(value, str):
        shared = _DEPLOYMENT.sub("<deployment>", _TIME.sub("<time>", value))
        return _UUID.sub(lambda found: ids.setdefault(found[0], f"<id {len(ids) + 1}>"), shared)
    return value
