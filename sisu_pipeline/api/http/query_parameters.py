"""Query parameters, as strict as bodies: an unknown, repeated or malformed one is a 400."""

import re
from datetime import datetime
from typing import Annotated, Literal, Self, TypeVar, get_args

from fastapi import Depends, Request
from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from sisu_pipeline.api.http.request_body import contract_refusal
from sisu_pipeline.contracts.base import Contract, ContractInvalid
from sisu_pipeline.contracts.person_name import PersonName
from sisu_pipeline.domain.status import RunStatus
from sisu_pipeline.store.review.open_gates import Asked

Q = TypeVar("Q", bound=Contract)

_DATE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,8}")


_RunIds = Annotated[str, Field(pattern=r"^run_[0-9a-f]{32}(,run_[0-9a-f]{32}){0,63}$")]


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


class TasksQuery(Contract):
    """Which page of the tasks of a run."""

    result: Literal["failed", "passed"] | None = None
    """Only tasks with this result."""
    after: Annotated[int, Field(ge=-1, le=999_999_999)] = -1
    """Only tasks behind this position."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """Number of tasks on a page."""


class LogsQuery(Contract):
    """Which outputs."""

    task: Annotated[int, Field(ge=0, le=999_999_999)] | None = None
    """Position of the task; all tasks without it."""


class EventsQuery(Contract):
    """Which events a stream has: at least one of the four."""

    inbox: Literal["no", "yes"] = "no"
    """`yes` for the events `inbox`."""
    runs: _RunIds | None = None
    """Ids of the runs whose events `run` follow, separated by commas."""
    output: _RunIds | None = None
    """Ids of the runs whose events `output` follow, separated by commas."""
    restarts: _RunIds | None = None
    """Ids of ended runs whose event `restart` follows, separated by commas: such a run is executed again."""

    @property
    def follows_inbox(self) -> bool:
        """Whether the inbox is followed."""
        return self.inbox == "yes"

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs whose changes are followed, each once."""
        return _ids(self.runs)

    @property
    def output_ids(self) -> tuple[str, ...]:
        """The runs whose output is followed, each once."""
        return _ids(self.output)

    @property
    def restart_ids(self) -> tuple[str, ...]:
        """The ended runs that are followed until they are executed again, each once."""
        return _ids(self.restarts)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.follows_inbox or self.runs or self.output or self.restarts):
            raise ValueError("nothing to follow: name inbox=yes, runs, output or restarts")
        return self


Search = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")]
Tenant = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]


def _written_out(value: object) -> object:
    """Refuse a number of seconds, which the type below would take for a time, too."""
    if not isinstance(value, str):
        return value
    try:
        if _DATE_TIME.match(value):
            return datetime.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError("must be a time such as 2030-01-31T09:30:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out, json_schema_input_type=AwareDatetime)]
Cursor = Annotated[str, Field(max_length=1000, pattern=r"^[A-Za-z0-9_-]+$")]


class GatesQuery(Contract):
    """Which of the open gates."""

    search: Search | None = None
    """Only gates whose run contains each of these words: in the goal, an id, the recipe, the policy, the tenant,
    the name of a submitter, or the path of a file that its plan changes."""
    asked: Asked | None = None
    """Only gates that ask `me`, my `team`, or no one in particular (`unassigned`)."""
    person: PersonName | None = None
    """The person whom `asked` means; with tokens, the owner of the token replaces it."""
    due_within_s: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Only gates whose deadline passes within so many seconds; 0: has passed."""
    tenant: Tenant | None = None
    """Only gates of this tenant."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """Number of gates on a page."""
    cursor: Cursor | None = None
    """`nextCursor` of the page before."""


class HistoryFilter(Contract):
    """Which changes of which runs."""

    search: Search | None = None
    """Only changes of runs that contain each of these words, as in the list of open gates."""
    run: Annotated[str, Field(pattern=r"^(run_[0-9a-f]{32}|ih_[0-9a-f]{64})$")] | None = None
    """Only changes of the run with this id, or of this intent."""
    person: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")] | None = None
    """Only changes by this person, or by this part of the system."""
    event: Annotated[str, Field(pattern=r"^[a-z][a-z_-]{0,39}$")] | None = None
    """Only changes of this kind, for example `approved`, `rejected`, `assign` or `submit`."""
    tenant: Tenant | None = None
    """Only changes of runs of this tenant."""
    since: Moment | None = None
    """Only changes at this time or later."""
    until: Moment | None = None
    """Only changes before this time."""


class HistoryQuery(HistoryFilter):
    """Which page of the changes that match."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """Number of changes on a page."""
    cursor: Cursor | None = None
    """`nextCursor` of the page before."""


class ExportQuery(HistoryFilter):
    """Which changes, and in which form."""

    format: Literal["csv", "json"] = "csv"
    """`csv`: one line per change; `json`: an array of objects."""


def parse(request: Request, contract: type[Q]) -> Q:
    """The query as an instance of its contract. Raises Refusal 400."""
    numbers = _numbers(contract)
    values: dict[str, object] = {}
    for name, text in request.query_params.multi_items():
        # A list is what no parameter takes: so a repeated one breaks the contract.
        value = _value(text) if name in numbers else text
        values[name] = [values[name], text] if name in values else value
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


async def events_query(request: Request) -> EventsQuery:
    """For the stream of several kinds of events."""
    return parse(request, EventsQuery)


async def tasks_query(request: Request) -> TasksQuery:
    """For the tasks of a run."""
    return parse(request, TasksQuery)


async def logs_query(request: Request) -> LogsQuery:
    """For the outputs of a run."""
    return parse(request, LogsQuery)


async def history_query(request: Request) -> HistoryQuery:
    """For the history of all runs."""
    return parse(request, HistoryQuery)


async def export_query(request: Request) -> ExportQuery:
    """For the export of the history."""
    return parse(request, ExportQuery)


async def gates_query(request: Request) -> GatesQuery:
    """For the list of open gates."""
    return parse(request, GatesQuery)


PlainRequest = Depends(no_query)
RunsQueryParameters = Annotated[RunsQuery, Depends(runs_query)]
TasksQueryParameters = Annotated[TasksQuery, Depends(tasks_query)]
LogsQueryParameters = Annotated[LogsQuery, Depends(logs_query)]
EventsQueryParameters = Annotated[EventsQuery, Depends(events_query)]
HistoryQueryParameters = Annotated[HistoryQuery, Depends(history_query)]
ExportQueryParameters = Annotated[ExportQuery, Depends(export_query)]
GatesQueryParameters = Annotated[GatesQuery, Depends(gates_query)]


def _ids(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(dict.fromkeys(text.split(",")))


def _numbers(contract: type[Contract]) -> set[str]:
    """The parameters that are integers."""
    return {
        field.alias or name
        for name, field in contract.model_fields.items()
        if field.annotation is int or any(int in (each, *get_args(each)) for each in get_args(field.annotation))
    }


def _value(text: str) -> str | int:
    return int(text) if _INTEGER.fullmatch(text) else text
