"""Query parameters, as strict as bodies: an unknown, repeated or malformed one is a 400."""

import re
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from pydantic import Field

from sisu_pipeline.api.http.request_body import contract_refusal
from sisu_pipeline.contracts.base import Contract, ContractInvalid
from sisu_pipeline.domain.status import RunStatus

Q = TypeVar("Q", bound=Contract)

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,8}")


class NoQuery(Contract):
    """No query parameters."""


class RunsQuery(Contract):
    """Which page of the runs."""

    status: RunStatus | None = None
    """Only runs with this status."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """Number of runs on a page."""
    before: Annotated[str, Field(pattern=r"^run_[0-9a-f]{32}$")] | None = None
    """Only runs older than the run with this id."""


def parse(request: Request, contract: type[Q]) -> Q:
    """The query as an instance of its contract. Raises Refusal 400."""
    values: dict[str, object] = {}
    for name, text in request.query_params.multi_items():
        # A list is what no parameter takes: so a repeated one breaks the contract.
        values[name] = [values[name], text] if name in values else _value(text)
    try:
        return contract.from_json(values)
    except ContractInvalid as failure:
        raise contract_refusal(failure, "invalid_query") from None


# Dependencies are coroutines: FastAPI sends each plain function through a thread of its own.
async def no_query(request: Request) -> None:
    """For routes that take no query parameters."""
    parse(request, NoQuery)


async def runs_query(request: Request) -> RunsQuery:
    """For the list of runs."""
    return parse(request, RunsQuery)


PlainRequest = Depends(no_query)
RunsQueryParameters = Annotated[RunsQuery, Depends(runs_query)]


def _value(text: str) -> str | int:
    return int(text) if _INTEGER.fullmatch(text) else text
