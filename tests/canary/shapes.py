"""The shape of a symbol as one line: a function's parameters, a class's, or the kind of anything else."""

import inspect
from enum import Enum
from functools import cached_property
from types import ModuleType

from tests.canary.private_api import class_names, declares, python_uses, resolve


def shape(symbol: str) -> str:
    """The symbol's shape without annotations, such as `(self, run_id, limit=None)`; "missing" when it is gone."""
    try:
        owner, name = resolve(symbol)
    except (ImportError, AttributeError):
        return "missing"
    if not hasattr(owner, name):
        return "attribute" if isinstance(owner, type) and declares(owner, name) else "missing"
    found = inspect.getattr_static(owner, name)
    if isinstance(found, staticmethod | classmethod):
        return f"{type(found).__name__} {_parameters(found.__func__)}"
    if inspect.isfunction(found):
        return _parameters(found)
    if isinstance(owner, type) and issubclass(owner, Enum):
        return f"member {found.value!r}"
    if isinstance(found, type) and issubclass(found, Enum):
        return "enum"
    if isinstance(found, type):
        return f"class {_parameters(found)}"
    if isinstance(owner, ModuleType) or isinstance(found, property | cached_property):
        return type(found).__name__
    return "attribute"


def _parameters(function: object) -> str:
    try:
        signature = inspect.signature(function)  # type: ignore[arg-type]
    except ValueError:
        return "()"
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


if __name__ == "__main__":
    for symbol in sorted({use.symbol for use in {*python_uses(), *class_names()}}):
        print(f"{symbol}: {shape(symbol)}")
