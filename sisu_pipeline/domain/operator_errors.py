"""The base of errors that an operator has to resolve. Imports nothing: every command loads it."""


class OperatorError(Exception):
    """The program cannot work here. The message tells the operator what to do; `code` is for programs."""

    code = "error"
