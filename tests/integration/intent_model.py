"""An intent as the design says it lives, in plain Python: what the real rows must agree with."""

from dataclasses import dataclass, field
from enum import StrEnum

STEPS = ("CompileST", "ApplyPatchST", "DecideST", "ExecuteST")
TERMINAL = ("succeeded", "canceled", "retries_exceeded")
DEADLINE = "sisu:deadline"
INFRASTRUCTURE = "NET_FAIL"


class Refused(Exception):
    """What may not be; `why` is one of not found, drift, conflict, illegal, not owner."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Seen(StrEnum):
    """The plan a decision names."""

    NONE = "none"
    CURRENT = "current"
    OTHER = "other"


class Done(StrEnum):
    """What became of a step."""

    COMMITTED = "committed"
    REPLAYED = "replayed"
    WAITS = "waits for a person"
    LOST = "worked, and died before the commit"
    FAILED = "ended its run"
    ENDED = "refused: its run had ended"


@dataclass
class Standing:
    """The decision that stands."""

    word: str
    by: str
    plan: Seen


@dataclass
class Model:
    """One intent."""

    on_timeout: str
    """What its deadline decides: approved or rejected."""
    tasks: int
    partition: str | None = None
    status: str = "submitted"
    steps: list[str] = field(default_factory=list)
    decision: Standing | None = None
    is_edited: bool = False
    is_overdue: bool = False
    retries: int = 0
    segment: int = 1
    results: dict[tuple[int, int], str] = field(default_factory=dict)
    """The error code of each place of the fan-out, in each retry that asked for it."""
    executed: list[int] = field(default_factory=list)
    """The retries that committed an ExecuteST."""

    @property
    def is_started(self) -> bool:
        return self.partition is not None

    @property
    def has_ended(self) -> bool:
        return self.status in TERMINAL

    @property
    def is_open(self) -> bool:
        """Whether its plan gate has been opened."""
        return "ApplyPatchST" in self.steps

    def start(self, partition: str) -> bool:
        """Whether it was started before."""
        if self.partition not in (None, partition):
            raise Refused("drift")
        if self.status == "canceled":
            raise Refused("canceled")
        was_started, self.partition = self.is_started, partition
        if not was_started:
            self.status = "queued"
        return was_started

    def decide(self, word: str, by: str, seen: Seen) -> Standing:
        """The decision that stands, whoever made it."""
        self._must_exist()
        standing = self.decision or self._overdue_decision()
        if standing is None and (self.has_ended or (self.is_open and seen is Seen.OTHER)):
            raise Refused("conflict")
        if standing is not None and (standing.word != word or not self._same_plan(standing, seen)):
            raise Refused("conflict")
        self.decision = standing or Standing(word, by, seen)
        return self.decision

    def edit(self, by: str) -> Standing:
        """Approve what somebody made of the plan."""
        if self.decision is not None and self.decision.word == "approved" and self.is_edited:
            return self.decision
        if self.decision is not None or self.is_overdue or self.has_ended:
            raise Refused("conflict")
        self.is_edited, self.tasks = True, 1
        self.decision = Standing("approved", by, Seen.CURRENT)
        return self.decision

    def enforce_deadline(self) -> None:
        self.decision = self.decision or self._overdue_decision()

    def cancel(self) -> None:
        self._must_exist()
        if self.has_ended and self.status != "canceled":
            raise Refused("illegal")
        self.status = "canceled"

    def retry(self) -> None:
        self._must_exist()
        is_rejected = self.decision is not None and self.decision.word == "rejected"
        is_reopened = is_rejected and self.decision is not None and self.decision.by == DEADLINE
        if is_rejected and not is_reopened:
            raise Refused("conflict")
        if self.status != "retries_exceeded":
            raise Refused("illegal")
        self.status, self.retries, self.segment = "repairing", self.retries + 1, self.segment + 1
        if is_reopened:
            self.decision, self.is_overdue = None, False

    def enter(self) -> None:
        """A worker begins a segment."""
        if self.status in ("queued", "repairing") or (self.status == "waiting_input" and self.decision is not None):
            self.status = "running"

    def step(self, name: str, keeps: bool) -> Done:
        """A worker does one of the first three steps; it dies before the commit unless it `keeps`."""
        if name == "DecideST" and self.decision is None:
            return Done.ENDED if self.has_ended else Done.WAITS
        if name in self.steps:
            return Done.REPLAYED
        if self.has_ended:
            return Done.ENDED
        if name == "DecideST" and self.decision is not None and not self._is_approved(self.decision):
            self.status = "retries_exceeded"
            return Done.FAILED
        return self._commit(name, keeps)

    def suspend(self) -> None:
        if self.status != "waiting_input":
            self.status, self.segment = "waiting_input", self.segment + 1

    def pending(self) -> list[int]:
        """The places of the fan-out without a result that counts."""
        return [place for place in range(self.tasks) if not self._counts(place)]

    def keep(self, place: int, code: str) -> None:
        """A task's result arrives; the first one stands."""
        self.results.setdefault((place, self.retries), code)

    def collect(self, keeps: bool) -> Done:
        """The worker merges the results."""
        if self.executed and (self.has_ended or self.executed[-1] == self.retries):
            return Done.REPLAYED
        if self.has_ended:
            return Done.ENDED
        if INFRASTRUCTURE in self._codes():
            self.status = "retries_exceeded"
            return Done.FAILED
        done = self._commit("ExecuteST", keeps)
        if done is Done.COMMITTED:
            self.executed.append(self.retries)
        return done

    def finish(self) -> Done:
        if self.has_ended:
            return Done.REPLAYED if self.status == "succeeded" else Done.ENDED
        succeeded = set(self._codes()) == {"NONE"}
        self.status = "succeeded" if succeeded else "retries_exceeded"
        return Done.COMMITTED if succeeded else Done.FAILED

    def _commit(self, name: str, keeps: bool) -> Done:
        if not keeps:
            return Done.LOST
        if name not in self.steps:
            self.steps.append(name)
        return Done.COMMITTED

    def _codes(self) -> list[str]:
        """The result that counts of each place: its last one."""
        last = {place: code for (place, _), code in sorted(self.results.items())}
        return [last[place] for place in range(self.tasks)]

    def _counts(self, place: int) -> bool:
        of_place = {retry: code for (where, retry), code in self.results.items() if where == place}
        return "NONE" in of_place.values() or self.retries in of_place

    def _overdue_decision(self) -> Standing | None:
        if self.is_overdue and not self.has_ended:
            return Standing(self.on_timeout, DEADLINE, Seen.CURRENT)
        return None

    def _same_plan(self, standing: Standing, seen: Seen) -> bool:
        if seen is Seen.NONE:
            return True
        if standing.plan is Seen.NONE:
            return seen is Seen.CURRENT or not self.is_open
        return seen is standing.plan

    def _is_approved(self, decision: Standing) -> bool:
        return decision.word == "approved" and decision.plan is not Seen.OTHER

    def _must_exist(self) -> None:
        if not self.is_started:
            raise Refused("not found")
