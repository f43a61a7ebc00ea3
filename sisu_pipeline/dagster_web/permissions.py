"""Which roles a GraphQL operation needs, by the rules of `contracts/access_rules.py`; every caller may read.

The jobs that submit and decide check the role again when they run.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_operation_ast,
    parse,
    value_from_ast_untyped,
)

from sisu_pipeline.contracts.access import Role
from sisu_pipeline.contracts.access_rules import JOB_RULES, LAUNCHES, MUTATION_RULES, OTHER_JOBS, Audience

_SELECTORS = ("jobName", "pipelineName")


class OperationRefused(Exception):
    """The operation is refused for every caller; the message states the reason."""


def required_roles(query: str, operation_name: str | None, variables: Mapping[str, Any] | None) -> frozenset[Role]:
    """The roles a query, mutation or subscription needs, all of them; none for reading.

    Raises OperationRefused for a mutation that has no rule or is refused to everybody. A document that cannot be
    parsed needs none: Dagster answers it with the parse error and executes nothing.
    """
    try:
        document = parse(query)
    except GraphQLError:
        return frozenset()
    operation = get_operation_ast(document, operation_name)
    if operation is None or operation.operation is not OperationType.MUTATION:
        return frozenset()
    fields = _fields(document, operation)
    return frozenset(role for field in fields for role in _roles(field, dict(variables or {})))


def check_subscription(query: str, operation_name: str | None) -> None:
    """Raises OperationRefused unless the operation is a subscription: the WebSocket carries nothing else."""
    try:
        operation = get_operation_ast(parse(query), operation_name)
    except GraphQLError as failure:
        raise OperationRefused(f"the query cannot be parsed: {failure.message}") from None
    if operation is None or operation.operation is not OperationType.SUBSCRIPTION:
        raise OperationRefused("only subscriptions are served over the WebSocket: send the operation with POST")


def _fields(document: DocumentNode, operation: OperationDefinitionNode) -> Iterator[FieldNode]:
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    todo: list[SelectionSetNode] = [operation.selection_set]
    seen: set[str] = set()
    while todo:
        for selection in todo.pop().selections:
            if isinstance(selection, FieldNode):
                yield selection
            elif isinstance(selection, InlineFragmentNode):
                todo.append(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in seen:
                seen.add(selection.name.value)
                if selection.name.value in fragments:
                    todo.append(fragments[selection.name.value].selection_set)


def _roles(field: FieldNode, variables: dict[str, Any]) -> set[Role]:
    name = field.name.value
    if name in LAUNCHES:
        arguments = {each.name.value: value_from_ast_untyped(each.value, variables) for each in field.arguments}
        return {JOB_RULES.get(job, OTHER_JOBS) for job in _jobs(arguments)} or {OTHER_JOBS}
    rule = Audience.SIGNED_IN if name.startswith("__") else MUTATION_RULES.get(name, Audience.NOBODY)
    if rule is Audience.NOBODY:
        raise OperationRefused(f"the mutation {name[:100]} is not permitted at this port")
    return {rule} if isinstance(rule, Role) else set()


def _jobs(arguments: Mapping[str, Any]) -> Iterator[str]:
    """The names of the jobs that a launch names; an unreadable one counts as a job of its own."""
    listed = arguments.get("executionParamsList")
    for parameters in listed if isinstance(listed, list) else [arguments.get("executionParams")]:
        selector = parameters.get("selector") if isinstance(parameters, dict) else None
        named = [selector.get(key) for key in _SELECTORS] if isinstance(selector, dict) else []
        yield next((name for name in named if isinstance(name, str)), "")
