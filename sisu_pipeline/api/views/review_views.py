"""Views of what people find and share: lists of open gates, assignments, delegations, histories."""

from resources.database import Connection
from sisu_pipeline.api.http.cursors import event_cursor, gate_cursor
from sisu_pipeline.api.schemas.gate_schemas import GateState
from sisu_pipeline.api.schemas.review_schemas import (
    AskedPeople,
    OpenGateEntry,
    OpenGates,
    RunChange,
    RunChanges,
)
from sisu_pipeline.api.views.gate_views import entry_members, is_shared
from sisu_pipeline.store import steps
from sisu_pipeline.store.review import open_gates as gates
from sisu_pipeline.store.review import run_events
from sisu_pipeline.store.review.open_gates import GateFilter, GatePosition, OpenGate
from sisu_pipeline.store.review.run_events import EventFilter, EventPosition
from sisu_pipeline.store.rules import quorum
from sisu_pipeline.store.rules.quorum import Tally


def open_gates(connection: Connection, wanted: GateFilter, limit: int, after: GatePosition | None) -> OpenGates:
    """A page of the open gates that match, from the one after `after` on."""
    # One more than requested shows whether another page follows.
    found = gates.matching(connection, wanted, limit + 1, after)
    page = found.gates[:limit]
    tallies = quorum.tallies(connection, [gate.run_id for gate in page if is_shared(gate)])
    return OpenGates(
        gates=[_open_entry(gate, tallies.get(gate.run_id)) for gate in page],
        count=found.count,
        next_cursor=gate_cursor(page[-1].position) if len(found.gates) > limit else None,
        now=steps.now(connection),
    )


def history(connection: Connection, wanted: EventFilter, limit: int, after: EventPosition | None) -> RunChanges:
    """A page of the changes of all runs that match, the newest first, from the one after `after` on."""
    found = run_events.matching(connection, wanted, limit + 1, after)
    page = found[:limit]
    return RunChanges(
        events=[RunChange(**vars(event)) for event in page],
        next_cursor=event_cursor(page[-1].position) if len(found) > limit else None,
    )


def _open_entry(gate: OpenGate, tally: Tally | None) -> OpenGateEntry:
    asked = AskedPeople(
        people=gate.asked_people,
        groups=gate.asked_groups,
        delegates=gate.delegates,
        assigned_by=gate.assigned_by,
        assigned_at=gate.assigned_at,
    )
    members = entry_members(gate, tally, GateState.WAITING)
    return OpenGateEntry(**members, recipe=gate.recipe, submitters=gate.submitters, asked=asked)
