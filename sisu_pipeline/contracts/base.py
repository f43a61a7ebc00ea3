"""The base class of contracts: closed, frozen, strict; camelCase in JSON."""

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Contract(BaseModel):
    """A closed object: unknown keys are errors, values are not coerced, instances are immutable.

    Python names are snake_case; JSON names are camelCase.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        strict=True,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
    )

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Validate a parsed JSON value by its JSON names only. Raises pydantic.ValidationError."""
        return cls.model_validate_json(json.dumps(value), by_alias=True, by_name=False)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of this contract, with JSON names and without absent optionals."""
        return self.model_dump(mode="json", exclude_none=True)
