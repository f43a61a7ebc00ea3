"""The published JSON Schema of an intent."""

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def intent_schema() -> dict[str, Any]:
    """The JSON Schema of an intent, with every input and constraint that the pipeline itself reads."""
    text = files(__package__).joinpath("intent.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
