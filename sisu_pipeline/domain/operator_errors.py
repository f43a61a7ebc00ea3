"""The base of errors that an operator has to resolve. Imports nothing: every command loads it."""


class OperatorError(Exception):
    """The environment does not permit the operation. The message names the remedy; `code` is for programs."""

    code = "error"
