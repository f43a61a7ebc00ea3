"""The base class of contracts: closed, frozen, strict; camelCase in JSON."""

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from sisu_pipeline.contracts.field_errors import Fault, faults


def absent(value: object) -> bool:
    """Whether a member is left out of the JSON: `Field(default=None, exclude_if=absent)`."""
    return value is None


class ContractInvalid(ValueError):
    """A value breaks its contract. `faults` are sorted by pointer; the message names the first one."""

    def __init__(self, contract: str, faults: list[Fault]) -> None:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"invalid {contract}: {faults[0].message}{more}")
        self.faults = faults


class Contract(BaseModel):
    """A closed object: unknown keys are errors, values are not coerced, instances are immutable.

    Python names are snake_case; JSON names are camelCase.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
    )

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Validate a parsed JSON value by its JSON names only. Raises ContractInvalid."""
        try:
            return cls.model_validate_json(json.dumps(value), by_alias=True, by_name=False)
        except ValidationError as failure:
            raise ContractInvalid(cls.__name__, faults(cls, failure)) from None

    def to_json(self) -> dict[str, Any]:
        """The JSON object of this contract, with JSON names and without absent optionals."""
        return self.model_dump(mode="json", exclude_none=True)
